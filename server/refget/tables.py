"""What the database keeps of sequences and their collections.

A *sequence* is known by its digests, whatever it is called; a *file* holds some, at the *places* of
its records. Names are aliases: of an authority, or as files call their records. A collection is
what a file holds, in order.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
)

from server.database import METADATA

# SQLite gives row ids to INTEGER keys only, and none of them twice with `sqlite_autoincrement`.
_ID = BigInteger().with_variant(Integer, "sqlite")

SEQUENCES = Table(
    "refget_sequences",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("md5", String(32), nullable=False, unique=True),
    Column("trunc512", String(48), nullable=False, unique=True),
    Column("length", BigInteger, nullable=False),
    Column("circular", Boolean, nullable=False, default=False),
    sqlite_autoincrement=True,
)

# `url`: what the operator knows the file by. `source`: "location" for what serving found in a
# location, "added" for what somebody added, "cached" for what came from another server.
FILES = Table(
    "refget_files",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("url", Text, nullable=False, unique=True),
    Column("kind", String(8), nullable=False),
    Column("source", String(8), nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("complete", Boolean, nullable=False, default=False),
    Column("collection", String(32), index=True),
    sqlite_autoincrement=True,
)

# `position` counts the records of a file from 0. Lines as in a .fai; of a flat file one line.
# `length` is that of the record: more than its sequence's where it holds what is no letter. Where
# lines have no bases it cannot be read (they are uneven), and is stored flat. Of 2bit, `line_bases`
# and `line_width` are the number of blocks of N and the offset of their table.
PLACES = Table(
    "refget_places",
    METADATA,
    Column("file", ForeignKey("refget_files.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("sequence", ForeignKey("refget_sequences.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("line_bases", BigInteger, nullable=False),
    Column("line_width", BigInteger, nullable=False),
)

# Where the BGZF blocks of a file begin: a .gzi, deflated. It was made by the pass that made the
# digests and holds for the same fingerprint, which nobody can say of a .gzi beside the file.
BLOCKS = Table(
    "refget_blocks",
    METADATA,
    Column("file", ForeignKey("refget_files.id", ondelete="CASCADE"), primary_key=True),
    Column("gzi", LargeBinary, nullable=False),
)

ALIASES = Table(
    "refget_aliases",
    METADATA,
    Column("authority", String(32), primary_key=True),
    Column("alias", String(255), primary_key=True),
    Column("sequence", ForeignKey("refget_sequences.id"), primary_key=True, index=True),
)

# The attributes of level 1; each is the digest of a row of ATTRIBUTES (but the transient one).
COLLECTIONS = Table(
    "refget_collections",
    METADATA,
    Column("digest", String(32), primary_key=True),
    Column("names", String(32), nullable=False, index=True),
    Column("lengths", String(32), nullable=False, index=True),
    Column("sequences", String(32), nullable=False, index=True),
    Column("name_length_pairs", String(32), nullable=False, index=True),
    Column("sorted_name_length_pairs", String(32), nullable=False, index=True),
    Column("sorted_sequences", String(32), nullable=False, index=True),
)

# `value`: the canonical JSON that the digest is of, deflated.
ATTRIBUTES = Table(
    "refget_attributes",
    METADATA,
    Column("attribute", String(32), primary_key=True),
    Column("digest", String(32), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

Index("refget_aliases_by_alias", ALIASES.c.alias)
# Other indexes of PostgreSQL hold nothing longer than some 2,700 bytes, and files know no limit.
Index("ix_refget_places_name", PLACES.c.name, postgresql_using="hash")
