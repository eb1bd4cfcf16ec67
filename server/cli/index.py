"""`htsgate index`: builds the indexes that are missing; touches no file it did not make."""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from formats.bgzf import MAX_BLOCK
from formats.cram import parse_header
from formats.errors import FormatError
from server.catalog import EXTENSIONS, index_keys
from server.cli.findings import counted, printable
from server.cli.inspection import not_bgzf
from server.cli.order import denies_order, look_at_containers
from server.config import ConfigurationError
from server.model import Format
from server.slicing.library import INDEX_AGE_TOLERANCE_NS
from server.survey import FASTA
from storage_backends.local import DescriptorSource

_BUILDER = Path(__file__).with_name("index_builder.py")
_MOST_AT_A_TIME = 4
_HTSLIB_ERROR = re.compile(r"^\[E::[^\]]*\] (.*)$", re.MULTILINE)


class Outcome(StrEnum):
    """What became of one file."""

    MADE = "made"
    KEPT = "has"
    STALE = "stale"
    SKIPPED = "skipped"
    FAILED = "failed"


_STYLES = {
    Outcome.MADE: "green",
    Outcome.STALE: "yellow",
    Outcome.SKIPPED: "yellow",
    Outcome.FAILED: "red",
}


@dataclass(frozen=True, slots=True)
class Indexed:
    """A data file, what became of it, and the names of indexes or the reason."""

    path: Path
    outcome: Outcome
    text: str


def index(options: argparse.Namespace) -> int:
    """Build what is missing; 1 when a file could not be indexed or an index is stale."""
    skipped: list[Indexed] = []
    paths = [_on_disk(text) for text in options.paths]
    files = list(dict.fromkeys(_files(paths, skipped)))
    results = sorted([*_build_all(files), *skipped], key=lambda result: result.path)
    console = Console(soft_wrap=True, highlight=False)
    for result in results:
        if result.outcome is not Outcome.KEPT:
            line = f"{result.outcome:7} {printable(str(result.path))}: {result.text}"
            console.print(Text(line, _STYLES[result.outcome]))
    counts = {outcome: sum(each.outcome is outcome for each in results) for outcome in Outcome}
    made, kept, stale, _, failed = (counts[outcome] for outcome in Outcome)
    have = "has" if stale == 1 else "have"
    console.print(
        f"{counted(len(files), 'file')}: {made} indexed, {kept} had an index,"
        f" {stale} {have} a stale one, {failed} failed"
    )
    return int(stale + failed > 0)


def _on_disk(text: str) -> Path:
    if "://" in text:
        raise ConfigurationError(
            f"{text.partition('?')[0]}: indexes are written next to the data, on disk only; index"
            " the files before you upload them, and upload the indexes too"
        )
    return Path(text)


def kind_of(path: Path) -> str | None:
    """The format of a file by its name, "FASTA" too; None for any other file."""
    for kind in Format:
        if path.name.endswith(EXTENSIONS[kind]):
            return kind
    return "FASTA" if path.name.endswith(FASTA) else None


def _files(paths: Sequence[Path], skipped: list[Indexed]) -> Iterator[Path]:
    """The files named and those below the directories named; `ConfigurationError` for others.

    What cannot be listed and links that leave their directory are added to `skipped`.
    """

    def unlistable(error: OSError) -> None:
        reason = f"cannot be listed: {error.strerror}"
        skipped.append(Indexed(Path(error.filename), Outcome.FAILED, reason))

    for path in paths:
        if path.is_dir():
            root = path.resolve()
            for directory, folders, names in os.walk(path, onerror=unlistable):
                folders.sort()
                for found in (Path(directory, name).absolute() for name in sorted(names)):
                    if kind_of(found) is None:
                        continue
                    if not found.resolve().is_relative_to(root):
                        reason = "link leaves the directory; not indexed"
                        skipped.append(Indexed(found, Outcome.SKIPPED, reason))
                    elif found.is_file():
                        yield found
        elif not path.is_file():
            raise ConfigurationError(f"{path}: no such file or directory")
        elif kind_of(path) is None:
            raise ConfigurationError(f"{path}: not a BAM, CRAM, VCF, BCF or FASTA file by its name")
        else:
            yield path.absolute()


def _build_all(files: Sequence[Path]) -> list[Indexed]:
    console = Console(stderr=True)
    columns = (TextColumn("indexing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    pool = ThreadPoolExecutor(min(_MOST_AT_A_TIME, os.cpu_count() or 1))
    results = []
    try:
        with Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        ) as progress:
            task = progress.add_task("", total=len(files))
            for future in as_completed([pool.submit(build_missing, path) for path in files]):
                results.append(future.result())
                progress.advance(task)
    finally:
        pool.shutdown(cancel_futures=True)
    return results


def build_missing(path: Path) -> Indexed:
    """Build the indexes that one file lacks."""
    try:
        kind = kind_of(path) or ""
        start = _start(path)
        wrong = not_bgzf(start) if kind != "FASTA" or start[:2] == b"\x1f\x8b" else ""
        if wrong and kind != Format.CRAM:
            return Indexed(path, Outcome.FAILED, wrong)
        present, missing = _indexes(path, kind, compressed=start[:2] == b"\x1f\x8b")
        old = [each for each in present if _is_older(each, path)]
        if old:
            names = ", ".join(printable(each.name) for each in old)
            return Indexed(path, Outcome.STALE, f"older than its data: remove {names}, run again")
        if not missing:
            return Indexed(path, Outcome.KEPT, ", ".join(each.name for each in present))
        if kind == Format.CRAM and _is_unsorted(path):
            return Indexed(path, Outcome.FAILED, "not sorted by coordinate")
        return _build(path, kind)
    except FormatError as error:
        return Indexed(path, Outcome.FAILED, str(error))
    except OSError as error:
        return Indexed(path, Outcome.FAILED, error.strerror or str(error))


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BLOCK)


def _indexes(path: Path, kind: str, *, compressed: bool) -> tuple[list[Path], bool]:
    """The indexes that are there, and whether one is missing. Of a data file one is enough."""
    if kind == "FASTA":
        wanted = (".fai", ".gzi") if compressed else (".fai",)
        candidates = [path.with_name(path.name + extension) for extension in wanted]
        present = [each for each in candidates if os.path.lexists(each)]
        return present, len(present) < len(candidates)
    candidates = [path.with_name(name) for name in index_keys(path.name, Format(kind))]
    present = [each for each in candidates if os.path.lexists(each)]
    return present[:1], not present


def _is_unsorted(path: Path) -> bool:
    """Whether a CRAM is not in order, which htslib does not always notice."""
    with path.open("rb") as file:
        source = DescriptorSource(file.fileno(), path.stat().st_size)
        header = parse_header(source)
        return denies_order(header.text) or look_at_containers(source, header).disorder > 0


def _is_older(found: Path, path: Path) -> bool:
    return found.stat().st_mtime_ns < path.stat().st_mtime_ns - INDEX_AGE_TOLERANCE_NS


def _build(path: Path, kind: str) -> Indexed:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".htsgate-index-") as directory:
        command = [sys.executable, "-P", str(_BUILDER), kind, str(path), directory]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")  # noqa: S603
        if done.returncode:
            return Indexed(path, Outcome.FAILED, _reason(done.stderr))
        made = []
        for new in sorted(Path(directory).iterdir()):
            target = path.with_name(path.name + new.suffix)
            if not os.path.lexists(target):
                _publish(new, target)
                made.append(printable(target.name))
    return Indexed(path, Outcome.MADE, ", ".join(made))


def _publish(new: Path, target: Path) -> None:
    """Give a finished file its name; `FileExistsError` when someone else was faster."""
    try:
        target.hardlink_to(new)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise
        new.rename(target)


def _reason(output: str) -> str:
    """What htslib says of a failure: its first error, or the last line there is."""
    error = _HTSLIB_ERROR.search(output)
    lines = output.strip().splitlines() or ["the indexer crashed"]
    return printable(error[1] if error else lines[-1])
