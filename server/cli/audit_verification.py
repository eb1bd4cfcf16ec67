"""`htsgate audit verify`: is the trail as it was written?"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auth.audit.checkpoints import Checkpoint
from auth.audit.verdict import Verdict, judge, text_of
from server.access.audit_chain import chains, read_entries, read_identities
from server.access.audit_checkpoint_files import read_folder
from server.access.audit_export import all_checkpoints, read_export, read_manifest
from server.cli.findings import counted, printable
from server.database import Database

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is held against the trail: a folder of checkpoints, and who must have signed."""

    folder: Path | None
    key: bytes | None
    as_json: bool


def verify_database(database: Database, evidence: Evidence) -> int:
    """Verify every chain of a database. Raises `InvalidExport`, `OSError`."""
    copied, notes = _copied(evidence)
    names = sorted({*database.run(chains), *(each.chain for each in copied)})
    verdicts = [
        _judge(name, database, [each for each in copied if each.chain == name], evidence)
        for name in names
    ]
    wrong = sum(not each.is_right for each in database.run(read_identities))
    if wrong:
        verdicts[0].faults.append(f"{counted(wrong, 'pseudonym')} of another name than recorded")
    return _print(verdicts, notes, evidence)


def verify_export(path: Path, evidence: Evidence) -> int:
    """Verify an export, without any database. Raises `InvalidExport`, `OSError`."""
    copied, notes = _copied(evidence)
    manifest = read_manifest(path)
    verdict = judge(
        manifest.chain,
        read_export(path, manifest),
        [*manifest.checkpoints, *copied],
        evidence.key,
        must_sign=evidence.key is not None,
        start=manifest.start,
    )
    return _print([verdict], notes, evidence)


def _judge(
    chain: str, database: Database, copied: Sequence[Checkpoint], evidence: Evidence
) -> Verdict:
    # First: a checkpoint that is made meanwhile may be of a record that is not read any more.
    checkpoints = [*all_checkpoints(database, chain), *copied]
    must_sign = evidence.key is not None
    return judge(
        chain, read_entries(database, chain), checkpoints, evidence.key, must_sign=must_sign
    )


def _copied(evidence: Evidence) -> tuple[list[Checkpoint], list[str]]:
    if evidence.folder is None:
        return [], []
    found, damaged = read_folder(evidence.folder)
    notes = [f"{counted(damaged, 'line')} of the folder no checkpoint"] if damaged else []
    return found, notes


def _print(verdicts: Sequence[Verdict], notes: Sequence[str], evidence: Evidence) -> int:
    good = all(each.is_good for each in verdicts)
    if evidence.as_json:
        document = {"good": good, "chains": [_as_json(each) for each in verdicts], "notes": notes}
        print(json.dumps(document, indent=2))
        return 0 if good else 1
    for each in verdicts:
        _print_one(each, evidence)
    for note in notes:
        print(f"note: {note}")
    if not verdicts:
        print("nothing is recorded")
    return 0 if good else 1


def _print_one(verdict: Verdict, evidence: Evidence) -> None:
    name = printable(verdict.chain)
    if verdict.fault is not None:
        print(f"{name}: BAD: record {verdict.fault.seq} {verdict.fault.reason}")
    else:
        print(f"{name}: {counted(verdict.records, 'record')}, every hash right")
    for fault in verdict.faults:
        print(f"{name}: BAD: {printable(fault)}")
    if verdict.checkpoints:
        whose = "signed by the key" if evidence.key else "signatures by whatever key they name"
        print(
            f"{name}: {counted(verdict.checkpoints, 'checkpoint')}, {whose};"
            f" the last one confirms record {verdict.anchored}"
        )
    else:
        print(f"{name}: no checkpoint: that its end was not cut off is not known")
    if verdict.checkpoints and evidence.key is None:
        print("note: give --public-key, so that no other key is believed")
    if verdict.missing_checkpoints:
        print(f"note: {counted(verdict.missing_checkpoints, 'checkpoint')} missing between others")
    if verdict.dropped:
        print(f"note: {counted(verdict.dropped, 'record')} were not kept, as the log itself says")
    if verdict.unfinished:
        print(f"note: {counted(len(verdict.unfinished), 'transfer')} without a recorded end:")
        for record in verdict.unfinished[:_SHOWN]:
            told = (text_of(record, part) for part in ("ts", "req", "tid", "object"))
            print(f"  {printable(' '.join(told))}")
        if len(verdict.unfinished) > _SHOWN:
            print("  …")
    sys.stdout.flush()


def _as_json(verdict: Verdict) -> dict[str, Any]:
    fault = verdict.fault
    return {
        "chain": verdict.chain,
        "good": verdict.is_good,
        "records": verdict.records,
        "head": {"seq": verdict.head.seq, "hash": verdict.head.hash.hex()},
        "first_bad": None if fault is None else {"seq": fault.seq, "reason": fault.reason},
        "checkpoint_faults": verdict.faults,
        "checkpoints": verdict.checkpoints,
        "missing_checkpoints": verdict.missing_checkpoints,
        "anchored": verdict.anchored,
        "dropped": verdict.dropped,
        "unfinished": [dict(each) for each in verdict.unfinished],
    }
