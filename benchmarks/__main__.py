"""`python -m benchmarks`: measure, print a table, write JSON."""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks.inputs.generate import generate
from benchmarks.inputs.scale import FULL, QUICK
from benchmarks.load import Load
from benchmarks.machine import describe
from benchmarks.measure import Row, Unmeasurable
from benchmarks.processes import ROOT
from benchmarks.report import as_json, from_json, markdown, print_table
from benchmarks.rows.every import MEASUREMENTS
from benchmarks.rows.setting import Setting

_HERE = ROOT / "benchmarks"
_ROUNDS = 9
_SECONDS = 2.0


def main() -> int:
    """Exit status 1 when a gate is missed, unless the run is a quick one."""
    options = _parse()
    console = Console(width=None if sys.stdout.isatty() else 170)
    if options.show is not None:
        try:
            document = json.loads(options.show.read_text())
            rows, machine = from_json(document), document["machine"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a result of this"
            print(f"{options.show}: {reason}", file=sys.stderr)
            return 2
        _print(console, rows, machine, as_markdown=options.markdown)
        return 0
    progress = Console(stderr=True)
    rounds = options.rounds or (2 if options.quick else _ROUNDS)
    inputs = generate(options.data, QUICK if options.quick else FULL, progress.print)
    began = datetime.now(UTC)
    load = Load()
    rows = []
    with tempfile.TemporaryDirectory(prefix="htsgate-bench-") as name:
        directory = Path(name)
        config = directory / "htsgate.toml"
        config.write_text("[server]\nticket_lifetime = 3600\n")
        seconds = 0.2 if options.quick else _SECONDS
        setting = Setting(inputs, rounds, seconds, directory, config, load)
        for wanted in options.only or MEASUREMENTS:
            clock = time.monotonic()
            try:
                measured = MEASUREMENTS[wanted](setting)
                rows += (replace(row, gate=None) if setting.quick else row for row in measured)
            except Unmeasurable as reason:
                rows.append(Row(wanted, wanted, None, note=str(reason)))
            progress.print(f"{wanted}: {time.monotonic() - clock:.0f} s", style="dim")
    machine = {**describe(), "load": load.name}
    run = {
        "began": began.isoformat(timespec="seconds"),
        "scale": inputs.scale.name,
        "rounds": rounds,
        "measurements": options.only or list(MEASUREMENTS),
    }
    options.results.mkdir(parents=True, exist_ok=True)
    result = options.results / f"{began:%Y%m%dT%H%M%S}-{inputs.scale.name}.json"
    result.write_text(json.dumps(as_json(rows, machine, run), indent=1, ensure_ascii=False) + "\n")
    _print(console, rows, machine, as_markdown=options.markdown)
    progress.print(f"written to {result}", style="dim")
    return int(not options.quick and any(row.missed for row in rows))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small data, few rounds: does it run?")
    parser.add_argument(
        "--only", action="append", choices=list(MEASUREMENTS), help="measure this; may be repeated"
    )
    parser.add_argument("--rounds", type=int, help=f"turns of each contender ({_ROUNDS})")
    parser.add_argument("--markdown", action="store_true", help="print the README's table")
    parser.add_argument("--show", type=Path, metavar="JSON", help="print an earlier result")
    parser.add_argument("--data", type=Path, default=_HERE / "data", help="generated data")
    parser.add_argument("--results", type=Path, default=_HERE / "results", help="JSON goes here")
    return parser.parse_args()


def _print(
    console: Console, rows: list[Row], machine: dict[str, str], *, as_markdown: bool
) -> None:
    if as_markdown:
        print("\n".join(markdown(rows)))
    else:
        print_table(console, rows, machine)


if __name__ == "__main__":
    sys.exit(main())
