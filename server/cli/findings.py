"""What `htsgate check` says of one file."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """Whether a finding keeps clients from what they may expect, is only worth knowing, or is just
    as it should be."""

    PROBLEM = "problem"
    NOTE = "note"
    FACT = "fact"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. `about`: id, header, eof, order, index, references, collection, m5 or
    fasta."""

    severity: Severity
    about: str
    message: str


@dataclass(slots=True)
class Report:
    """What was looked at of one file, and what was found. `index`: the file name of the index."""

    file: str
    format: str
    id: str | None = None
    index: str | None = None
    looked_at: str = ""
    findings: list[Finding] = field(default_factory=list)

    def problem(self, about: str, message: str) -> None:
        """Add what must be mended."""
        self.findings.append(Finding(Severity.PROBLEM, about, message))

    def note(self, about: str, message: str) -> None:
        """Add what is worth knowing."""
        self.findings.append(Finding(Severity.NOTE, about, message))

    def fact(self, about: str, message: str) -> None:
        """Add what the file is, with nothing wrong about it."""
        self.findings.append(Finding(Severity.FACT, about, message))

    @property
    def problems(self) -> int:
        """How many findings are problems."""
        return self.count(Severity.PROBLEM)

    def count(self, severity: Severity) -> int:
        """How many findings are of a severity."""
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def is_fine(self) -> bool:
        """Whether there is nothing to be done, nor anything odd."""
        return all(finding.severity is Severity.FACT for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 file", "2 files"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def printable(text: str) -> str:
    """A file name as text that any terminal and JSON can take."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )
