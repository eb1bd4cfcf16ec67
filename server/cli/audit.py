"""`htsgate audit`: verify the trail, look at it, report from it, hand it on."""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from auth.audit.checkpoints import new_key, read_public_key, write_key
from auth.errors import InvalidConfiguration
from server.access.audit_chain import CHAIN
from server.access.audit_export import InvalidExport, export_chain, manifest_of
from server.cli.audit_verification import Evidence, verify_database, verify_export
from server.cli.findings import counted
from server.config import ConfigurationError, Settings, database_url, load_settings
from server.database import Database, DatabaseMissing, DatabaseUnavailable

_LONGEST_KEY = 64 << 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions of the command and their options."""
    parser.set_defaults(command=audit)
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    verify = actions.add_parser("verify", help="walk the chain, check hashes and checkpoints")
    verify.add_argument("--export", type=Path, metavar="FILE", help="an export, not the database")
    verify.add_argument(
        "--checkpoints", type=Path, metavar="DIR", help="folder that checkpoints were copied to"
    )
    verify.add_argument(
        "--public-key", type=Path, metavar="FILE", help="who must have signed the checkpoints"
    )
    verify.add_argument("--json", action="store_true", help="for programs")
    last = actions.add_parser("tail", help="show the last records")
    last.add_argument("-n", type=_count, default=10, metavar="N", help="how many (10)")
    last.add_argument("--follow", action="store_true", help="and those that come")
    last.add_argument("--json", action="store_true", help="for programs")
    about = actions.add_parser("report", help="who was given what, by ticket")
    about.add_argument("--dataset", metavar="ID", help="of this dataset")
    about.add_argument("--participant", metavar="ID", help="objects with data of this person")
    about.add_argument(
        "--subject", metavar="NAME", help="to this caller: issuer|subject, subject or pseudonym"
    )
    about.add_argument("--since", metavar="DATE", help="from then on: 2026-11-30, in UTC")
    about.add_argument("--policy", type=Path, metavar="FILE", help="whose sample maps are used")
    about.add_argument("--format", choices=("table", "csv", "json"), default="table")
    export = actions.add_parser("export", help="write the chain into files that prove themselves")
    export.add_argument("file", type=Path, metavar="FILE", help="new file of JSON Lines")
    for each in (verify, last, about, export):
        each.add_argument("--database", metavar="URL", help="default: as configured")
        each.add_argument("--config", type=Path, metavar="FILE", help="TOML settings")
    keygen = actions.add_parser("keygen", help="make the key that signs checkpoints")
    keygen.add_argument("file", type=Path, metavar="FILE", help="new file; FILE.pub beside it")


def audit(options: argparse.Namespace) -> int:
    """Do what was asked for; 1 when something is wrong with the trail."""
    if options.action == "keygen":
        return _keygen(options.file)
    settings = load_settings(options.config, {})
    try:
        if options.action == "verify":
            evidence = Evidence(options.checkpoints, _public_key(options, settings), options.json)
            if options.export is not None:
                return verify_export(options.export, evidence)
            with _database(options, settings) as database:
                return verify_database(database, evidence)
        with _database(options, settings) as database:
            from server.cli.audit_reports import report, tail  # a server has no need of rich

            if options.action == "tail":
                return tail(database, options.n, follow=options.follow, as_json=options.json)
            if options.action == "export":
                return _export(database, options.file)
            policy = options.policy or (settings.auth.policy if settings.auth else None)
            return report(database, options, policy)
    except (InvalidConfiguration, InvalidExport) as error:
        print(f"htsgate: {error}", file=sys.stderr)
        return 1
    except DatabaseMissing:
        print("htsgate: there is no database with an audit in it", file=sys.stderr)
        return 1
    except DatabaseUnavailable as error:
        print(f"htsgate: {error}", file=sys.stderr)
        return 1


@contextmanager
def _database(options: argparse.Namespace, settings: Settings) -> Iterator[Database]:
    url = options.database or database_url(settings)
    if url is None:
        raise ConfigurationError("no database is configured; name it with --database URL")
    try:
        database = Database(url, read_only=True)
    except ValueError as error:
        raise ConfigurationError(f"--database: {error}") from None
    with closing(database):
        yield database


def _public_key(options: argparse.Namespace, settings: Settings) -> bytes | None:
    path = options.public_key or (settings.auth.audit_key if settings.auth else None)
    if path is None:
        return None
    with path.open("rb") as file:
        return read_public_key(file.read(_LONGEST_KEY))


def _export(database: Database, path: Path) -> int:
    began = time.monotonic()
    manifest = export_chain(database, CHAIN, path)
    took = time.monotonic() - began
    print(f"{path}: {counted(manifest.last.seq, 'record')} in {took:.1f} s")
    print(f"{manifest_of(path)}: {counted(len(manifest.checkpoints), 'checkpoint')}")
    return 0


def _keygen(path: Path) -> int:
    key = new_key()
    private, public = write_key(key)
    for where, data, mode in ((path, private, 0o600), (_public_of(path), public, 0o644)):
        descriptor = os.open(where, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    print(f"{path}: name it as auth.audit_key")
    print(f"{_public_of(path)}: for whoever verifies; give it to the custodian")
    print(f"public key: {key.public_key().public_bytes_raw().hex()}")
    return 0


def _public_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.pub")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number
