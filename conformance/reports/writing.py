"""Where reports go: files, and standard output."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rich.console import Console

STANDARD_OUTPUT = "-"


class Unwritable(Exception):
    """A report cannot be written where it was asked for; says why."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Where each kind of report is wanted: a path, or `-`."""

    places: Mapping[str, str]

    def check(self) -> None:
        """Raise `Unwritable` for what will not work, before anything is done for it."""
        shared = [kind for kind, place in self.places.items() if place == STANDARD_OUTPUT]
        if len(shared) > 1:
            raise Unwritable(f"{' and '.join(shared)} cannot both go to standard output")
        for kind, place in self.places.items():
            path = Path(place)
            if place == STANDARD_OUTPUT:
                continue
            if path.is_dir() or not path.parent.is_dir():
                reason = "is a directory" if path.is_dir() else "is in no directory that exists"
                raise Unwritable(f"the {kind} report cannot be written: {place} {reason}")
            if not os.access(path if path.exists() else path.parent, os.W_OK):
                raise Unwritable(f"the {kind} report cannot be written: {place} is not writable")

    @property
    def takes_output(self) -> bool:
        """Whether standard output is a report's."""
        return STANDARD_OUTPUT in self.places.values()

    def write(self, contents: Mapping[str, Callable[[], str]]) -> None:
        """Write each report that is wanted. Raises `Unwritable` when the others are written."""
        failures = []
        for kind, place in self.places.items():
            text = contents[kind]()
            try:
                if place == STANDARD_OUTPUT:
                    write_output(text)
                else:
                    Path(place).write_bytes(_encoded(text))
            except OSError as error:
                failures.append(f"the {kind} report: {place}: {error.strerror or error}")
        if failures:
            raise Unwritable("; ".join(failures))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


class QuietConsole(Console):
    """A console that falls silent when nobody reads it any more: what is done goes on."""

    def on_broken_pipe(self) -> None:
        silence(self.file)


def write_output(text: str) -> None:
    """Write to standard output, whatever the locale; a reader that has left is no failure."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(_encoded(text))
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)


def silence(stream: IO[str]) -> None:
    """Lead what is still written to a stream nowhere, also the interpreter's flush at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
