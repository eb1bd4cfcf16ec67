"""`htsgate consent`: write down that somebody withdraws, or may be served again; list it all."""

import argparse
import getpass
import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import Connection

from auth.audit.record import Draft, Pii
from auth.consent import Action, Kind, Statement
from auth.consent_files import MAX_BYTES, read_instant, read_sample_map
from auth.errors import InvalidConfiguration
from auth.policy.evaluation import load_policy
from server.access import consent_journal
from server.access.audit_chain import CHAIN, append
from server.access.audit_notary import timestamp
from server.access.consent_journal import Recorded
from server.cli.findings import counted, printable
from server.config import ConfigurationError, Settings, database_url, load_settings
from server.database import Database, DatabaseMissing, DatabaseUnavailable
from server.database_engines import parse_url

_BUSY_SECONDS = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions of the command and their options."""
    parser.set_defaults(command=consent)
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    withdraw = actions.add_parser("withdraw", help="nothing of it leaves any more")
    restore = actions.add_parser("restore", help="it may be served again")
    for each in (withdraw, restore):
        about = each.add_mutually_exclusive_group(required=True)
        about.add_argument("--participant", metavar="ID", help="a person, as sample maps call them")
        about.add_argument("--sample", metavar="NAME", help="one sample of a person")
        about.add_argument("--object", metavar="ID", help="one object: reads/ID, variants/ID or ID")
        each.add_argument("--dataset", default="", metavar="ID", help="of this one only (all)")
        each.add_argument(
            "--from",
            type=_instant,
            dest="effective_from",
            metavar="WHEN",
            help="2026-11-30 (in UTC) or 2026-11-30T08:00:00+01:00 (now)",
        )
        each.add_argument("--reason", default="", metavar="TEXT", help="kept beside it")
        each.add_argument("--policy", type=Path, metavar="FILE", help="whose maps are looked at")
    listed = actions.add_parser("list", help="show what was recorded, and read from lists")
    listed.add_argument("--json", action="store_true", help="for programs")
    for each in (withdraw, restore, listed):
        each.add_argument("--database", metavar="URL", help="default: as configured")
        each.add_argument("--config", type=Path, metavar="FILE", help="TOML settings")


def consent(options: argparse.Namespace) -> int:
    """Do what was asked for; 1 when the database does not answer."""
    settings = load_settings(options.config, {})
    try:
        if options.action == "list":
            with _database(options, settings, read_only=True) as database:
                return _list(database, as_json=options.json)
        statement = _statement(options)
        with _database(options, settings, read_only=False) as database:
            _record(database, statement, options.reason)
    except DatabaseMissing:
        print("htsgate: there is no such database; the server makes it", file=sys.stderr)
        return 1
    except DatabaseUnavailable as error:
        print(f"htsgate: {error}", file=sys.stderr)
        return 1
    done = "withdrawn" if statement.action is Action.WITHDRAW else "restored"
    where = f"dataset {statement.dataset}" if statement.dataset else "all datasets"
    since = timestamp(statement.effective_from)
    print(printable(f"{done}: {statement.kind} {statement.value} in {where}, from {since}"))
    policy = options.policy or (settings.auth.policy if settings.auth else None)
    if policy is not None and statement.kind is not Kind.OBJECT:
        _say_where(policy, statement)
    return 0


@contextmanager
def _database(
    options: argparse.Namespace, settings: Settings, *, read_only: bool
) -> Iterator[Database]:
    url = options.database or database_url(settings)
    if url is None:
        raise ConfigurationError("no database is configured; name it with --database URL")
    try:
        parsed = parse_url(url)
        if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
            raise DatabaseMissing  # what is said to a new one nobody hears
        database = Database(
            url, read_only=read_only, durable=not read_only, busy_seconds=_BUSY_SECONDS
        )
    except ValueError as error:
        raise ConfigurationError(f"--database: {error}") from None
    with closing(database):
        yield database


def _statement(options: argparse.Namespace) -> Statement:
    kind = next(each for each in Kind if getattr(options, each) is not None)
    since = options.effective_from
    statement = Statement(
        Action(options.action),
        kind,
        getattr(options, kind),
        options.dataset,
        int(time.time()) if since is None else since,
    )
    try:
        return consent_journal.checked(statement)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _record(database: Database, statement: Statement, reason: str) -> None:
    """Write it down, in one transaction with its audit record."""
    now, user = time.time(), getpass.getuser()
    draft = Draft(
        {
            "event": "consent.updated",
            "ts": timestamp(now),
            "server": {"id": "htsgate consent", "version": version("htsgate")},
            "subject": {"pii": Pii("operator", user)},
            "action": str(statement.action),
            "kind": str(statement.kind),
            "value": {"pii": Pii(str(statement.kind), statement.value)},
            "dataset": statement.dataset,
            "effective_from": statement.effective_from,
        }
    )

    def work(connection: Connection) -> None:
        consent_journal.record(connection, statement, reason=reason, by=user, now=now)
        append(connection, CHAIN, [draft])

    database.run(work, writing=True)


def _say_where(path: Path, statement: Statement) -> None:
    """How many objects it is about: a name that was mistyped withholds nothing."""
    try:
        datasets = load_policy(path).datasets
        found = 0
        for name, dataset in datasets.items():
            if dataset.samples is None or statement.dataset not in ("", name):
                continue
            with dataset.samples.open("rb") as file:
                rows = read_sample_map(file.read(MAX_BYTES + 1)).rows
            pair = 0 if statement.kind is Kind.SAMPLE else 1
            found += sum(statement.value in {row[pair] for row in each} for each in rows.values())
    except (InvalidConfiguration, OSError) as error:
        print(f"htsgate: {path}: cannot say which objects: {error}", file=sys.stderr)
        return
    if found:
        print(f"it is about {counted(found, 'object')}")
    else:
        what = printable(f"{statement.kind} {statement.value}")
        print(f"htsgate: no sample map names {what}: is it written right?", file=sys.stderr)


def _list(database: Database, *, as_json: bool) -> int:
    found = database.run(lambda connection: list(consent_journal.read(connection)))
    if as_json:
        json.dump([_as_json(each) for each in found], sys.stdout, indent=2)
        print()
        return 0
    if not found:
        print("nothing is recorded")
        return 0
    _show(found)
    return 0


def _show(found: list[Recorded]) -> None:
    from rich.console import Console
    from rich.table import Table

    columns = ("recorded", "action", "of", "name", "dataset", "from", "by", "reason")
    rows = [_row(each) for each in found]
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        for row in (columns, *rows):
            print("\t".join(row))
        return
    table = Table(*columns, box=None)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _row(each: Recorded) -> tuple[str, ...]:
    statement = each.statement
    return (
        timestamp(each.at),
        str(statement.action),
        str(statement.kind),
        printable(statement.value),
        printable(statement.dataset) or "all",
        timestamp(statement.effective_from),
        "list" if each.listed else printable(each.by),
        printable(each.reason) or "-",
    )


def _as_json(each: Recorded) -> dict[str, object]:
    statement = each.statement
    return {
        "id": each.id,
        "action": str(statement.action),
        "kind": str(statement.kind),
        "value": statement.value,
        "dataset": statement.dataset or None,
        "effective_from": timestamp(statement.effective_from),
        "recorded": timestamp(each.at),
        "by": each.by or None,
        "listed": each.listed,
        "reason": each.reason or None,
    }


def _instant(text: str) -> int:
    try:
        return read_instant(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
