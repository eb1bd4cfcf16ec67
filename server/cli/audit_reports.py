"""`htsgate audit report` and `tail`: what the trail tells."""

import argparse
import csv
import json
import re
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from auth.audit.report import Access, AccessReport, Wanted
from auth.audit.verdict import read_payload, text_of
from auth.consent_files import SampleMap, read_sample_map
from auth.errors import InvalidConfiguration
from auth.policy.evaluation import load_policy
from server.access.audit_chain import CHAIN, head, read_entries, read_identities
from server.cli.findings import counted, printable
from server.config import ConfigurationError
from server.database import Database

_FOLLOW_SECONDS = 0.5
_SINCE = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d(:\d\d(:\d\d(\.\d{1,3})?Z?)?)?)?)?)?")
# What a spreadsheet takes for a formula (OWASP ASVS 1.2.10).
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20|%]|[\t\r\n]")

_COLUMNS = (
    "time",
    "last",
    "subject",
    "client",
    "dataset",
    "object",
    "format",
    "class",
    "regions",
    "grants",
    "rule",
    "outcome",
    "bytes",
    "records",
    "ticket",
    "request",
)
_IN_TABLES = ("time", "subject", "dataset", "object", "regions", "grants", "outcome", "bytes")


def tail(database: Database, count: int, *, follow: bool, as_json: bool) -> int:
    """Print the last records, one a line, and with `follow` those that come until interrupted."""
    last = database.run(lambda each: head(each, CHAIN)).seq
    after = max(0, last - count)
    names = _Names(database)
    with suppress(KeyboardInterrupt, BrokenPipeError):
        while True:
            for entry in read_entries(database, CHAIN, after):
                after = entry.seq
                record = names.shown(read_payload(entry.payload))
                print(_json_line(after, record) if as_json else _line(after, record))
            sys.stdout.flush()
            if not follow:
                break
            time.sleep(_FOLLOW_SECONDS)
    return 0


def report(database: Database, options: argparse.Namespace, policy: Path | None) -> int:
    """Print who was given what."""
    if options.since is not None and not _SINCE.fullmatch(options.since):
        raise ConfigurationError("--since: write 2026-11-30 or 2026-11-30T08:00, in UTC")
    samples: Mapping[str, SampleMap] = {}
    if options.participant is not None:
        if policy is None:
            raise ConfigurationError("--participant needs the sample maps of a policy: --policy")
        samples = _sample_maps(policy)
        if not any(each.names(options.participant) for each in samples.values()):
            print(f"no sample map names {options.participant!r}", file=sys.stderr)
    names = _Names(database)
    subjects = None if options.subject is None else names.pseudonyms(options.subject)
    wanted = Wanted(
        options.dataset,
        subjects,
        options.since,
        options.participant,
        samples,
    )
    accesses = AccessReport(wanted)
    for entry in read_entries(database, CHAIN):
        accesses.add(read_payload(entry.payload))
    rows = [_row(each, names) for each in accesses.accesses()]
    if not rows:
        print("no record is about this; are the names right?", file=sys.stderr)
    with suppress(BrokenPipeError):
        if options.format == "json":
            print(json.dumps([dict(each) for each in rows], indent=2))
        elif options.format == "csv":
            _print_csv(rows)
        else:
            _print_table(rows)
        sys.stdout.flush()
    return 0


def _sample_maps(policy: Path) -> dict[str, SampleMap]:
    found = {}
    for name, dataset in load_policy(policy).datasets.items():
        if dataset.samples is not None:
            try:
                found[name] = read_sample_map(dataset.samples.read_bytes())
            except InvalidConfiguration as error:
                raise InvalidConfiguration(f"{dataset.samples}: {error}") from None
    if not found:
        raise ConfigurationError("no dataset of the policy has samples, so nobody's data is known")
    return found


class _Names:
    """Whom pseudonyms stand for; looked up once more when a new one comes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, str] = {}
        self._unknown: set[str] = set()
        self._read()

    def _read(self) -> None:
        self._known = {each.hmac: each.value for each in self._database.run(read_identities)}

    def of(self, pseudonym: str) -> str:
        """The name, or for one that was erased its pseudonym."""
        if pseudonym and pseudonym not in self._known and pseudonym not in self._unknown:
            self._read()
            if pseudonym not in self._known:
                self._unknown.add(pseudonym)
        return self._known.get(pseudonym, f"erased:{pseudonym[:16]}" if pseudonym else "")

    def pseudonyms(self, subject: str) -> set[str]:
        """What a caller may be called in the records."""
        return {subject.removeprefix("erased:")} | {
            pseudonym
            for pseudonym, name in self._known.items()
            if name == subject or ("|" in name and name.endswith(f"|{subject}"))
        }

    def shown(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A record with names in place of pseudonyms."""
        return {
            name: {**value, "pii": self.of(text_of(value, "pii"))}
            if isinstance(value, dict) and "pii" in value
            else value
            for name, value in record.items()
        }


def _json_line(seq: int, record: Mapping[str, Any]) -> str:
    return json.dumps({"seq": seq, **record}, separators=(",", ":"))


def _line(seq: int, record: Mapping[str, Any]) -> str:
    subject = record.get("subject")
    who = text_of(subject, "pii") if isinstance(subject, dict) else ""
    about = [text_of(record, name) for name in ("object", "rule", "outcome", "req")]
    told = [text_of(record, "ts"), text_of(record, "event"), who, *about]
    return f"{seq}\t" + "\t".join(printable(each) or "-" for each in told)


def _row(access: Access, names: _Names) -> dict[str, Any]:
    return {
        "time": access.first,
        "last": access.last,
        "subject": names.of(access.subject) or "nobody",
        "client": access.client,
        "dataset": access.dataset,
        "object": f"{access.endpoint}/{access.object}" if access.endpoint else access.object,
        "format": access.format,
        "class": access.data_class,
        "regions": access.region_text,
        "grants": " ".join(access.grants),
        "rule": access.rule,
        "outcome": access.outcome,
        "bytes": access.bytes,
        "records": access.records,
        "ticket": "" if access.denied else access.ticket,
        "request": access.request,
    }


def _print_csv(rows: Iterable[Mapping[str, Any]]) -> None:
    writer = csv.writer(sys.stdout, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in rows:
        writer.writerow([harmless(str(row[name])) for name in _COLUMNS])


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _print_table(rows: list[dict[str, Any]]) -> None:
    shown = [[printable(str(row[name])) or "-" for name in _IN_TABLES] for row in rows]
    total = sum(row["bytes"] for row in rows)
    people = len({row["subject"] for row in rows})
    told = f"{counted(len(rows), 'request')} of {people} callers; {counted(total, 'byte')} sent"
    console = Console()
    if not console.is_terminal:
        for line in (list(_IN_TABLES), *shown):
            print("\t".join(line))
        print(told)
        return
    table = Table(*_IN_TABLES, box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for line in shown:
        table.add_row(*map(Text, line))
    console.print(table)
    console.print(told, highlight=False)
