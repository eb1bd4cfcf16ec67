"""What `htsgate check` says of one file."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """Whether a finding keeps clients from what they may expect, or is only worth knowing."""

    PROBLEM = "problem"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. `about`: id, header, eof, order, index, references or fasta."""

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

    @property
    def problems(self) -> int:
        """How many findings are problems."""
        return sum(finding.severity is Severity.PROBLEM for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 file", "2 files"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
