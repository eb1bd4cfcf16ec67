"""What the database keeps of consent: every statement ever made, and how old the lists are."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    event,
)

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

_SQLITE = (
    (
        "CREATE TRIGGER consent_no_update BEFORE UPDATE ON consent_statements"
        " BEGIN SELECT RAISE(ABORT, 'statements are not changed'); END"
    ),
    (
        "CREATE TRIGGER consent_no_delete BEFORE DELETE ON consent_statements"
        " BEGIN SELECT RAISE(ABORT, 'statements are not removed'); END"
    ),
)
_POSTGRESQL = (
    (
        "CREATE OR REPLACE FUNCTION consent_is_kept() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'statements are not changed'; END $$"
    ),
    (
        "CREATE TRIGGER consent_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON consent_statements"
        " FOR EACH STATEMENT EXECUTE FUNCTION consent_is_kept()"
    ),
)


@event.listens_for(STATEMENTS, "after_create")
def _protect(_: Table, connection: Connection, **__: object) -> None:
    """Against accidents, not against administrators."""
    for statement in _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL:
        connection.exec_driver_sql(statement)
