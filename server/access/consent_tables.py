"""What the database keeps of consent: every statement ever made, and how old the lists are."""

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, String, Table, Text

from server.database import METADATA

_ID = BigInteger().with_variant(Integer, "sqlite")

# Rows are added and never changed, in the order of their ids. `dataset`: "" for all of them.
# `effective_from` and `recorded` are seconds since the epoch. `listed`: read from the dataset's
# list of withdrawals, which may grow and never shrink.
STATEMENTS = Table(
    "consent_statements",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("action", String(8), nullable=False),
    Column("kind", String(11), nullable=False),
    Column("value", Text, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("effective_from", BigInteger, nullable=False),
    Column("listed", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("recorded_by", Text, nullable=False),
    Column("recorded", Float, nullable=False),
    sqlite_autoincrement=True,
)

# `as_of`: when the list was last known to be complete: the modification time of the file.
LISTS = Table(
    "consent_lists",
    METADATA,
    Column("dataset", Text, primary_key=True),
    Column("as_of", Float, nullable=False),
)

Index("consent_statements_by_dataset", STATEMENTS.c.dataset, STATEMENTS.c.listed)
