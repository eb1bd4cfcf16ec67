"""What the database keeps of the audit: the chain, who the pseudonyms stand for, checkpoints.

Triggers stop whoever changes or deletes a record by accident. They are no protection from an
administrator of the database; checkpoints that were copied elsewhere are.
"""

from collections.abc import Iterator

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    event,
)

from server.database import METADATA

_NUMBER = BigInteger().with_variant(Integer, "sqlite")

# `payload`: canonical JSON. The first record of a chain has the number 1.
AUDIT = Table(
    "audit",
    METADATA,
    Column("chain", Text, primary_key=True),
    Column("seq", _NUMBER, primary_key=True, autoincrement=False),
    Column("payload", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    sqlite_strict=True,
)

# `hmac`: what the records say instead of `value`. To forget somebody, delete the row; should they
# come again, they get another salt, and so another name.
PII = Table(
    "audit_pii",
    METADATA,
    Column("id", _NUMBER, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("value", Text, nullable=False),
    Column("hmac", Text, nullable=False, unique=True),
    UniqueConstraint("kind", "value"),
    sqlite_strict=True,
)

# Numbered from 1 in each chain. `document`: as it is written to files.
CHECKPOINTS = Table(
    "audit_checkpoints",
    METADATA,
    Column("chain", Text, primary_key=True),
    Column("number", _NUMBER, primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False),
    sqlite_strict=True,
)


def _sqlite_triggers(table: str, key: tuple[str, ...], *operations: str) -> Iterator[str]:
    for operation in operations:
        yield (
            f"CREATE TRIGGER {table}_no_{operation.lower()} BEFORE {operation} ON {table}"
            f" BEGIN SELECT RAISE(ABORT, '{table}: records are not changed'); END"
        )
    # INSERT OR REPLACE deletes without asking the trigger of DELETE.
    same = " AND ".join(f"{name} = NEW.{name}" for name in key)
    yield (
        f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN"  # noqa: S608
        f" EXISTS (SELECT 1 FROM {table} WHERE {same})"
        f" BEGIN SELECT RAISE(ABORT, '{table}: records are not replaced'); END"
    )


def _postgresql_triggers(table: str, *operations: str) -> Iterator[str]:
    if "DELETE" in operations:
        operations += ("TRUNCATE",)
    yield (
        f"CREATE OR REPLACE FUNCTION {table}_is_kept() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION '{table}: records are not changed'; END $$"
    )
    yield (
        f"CREATE TRIGGER {table}_no_change BEFORE {' OR '.join(operations)} ON {table}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION {table}_is_kept()"
    )


def _protect(table: Table, *operations: str) -> None:
    """Have the triggers made with the table."""

    @event.listens_for(table, "after_create")
    def protect(_: Table, connection: Connection, **__: object) -> None:
        if connection.dialect.name == "sqlite":
            key = tuple(table.primary_key.columns.keys())
            statements = _sqlite_triggers(table.name, key, *operations)
        else:
            statements = _postgresql_triggers(table.name, *operations)
        for statement in statements:
            connection.exec_driver_sql(statement)


_protect(AUDIT, "UPDATE", "DELETE")
_protect(CHECKPOINTS, "UPDATE", "DELETE")
_protect(PII, "UPDATE")
