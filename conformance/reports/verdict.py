"""What the results of a run come to: counts, the level that is met, and one sentence."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType

from conformance.case import Outcome, Requirement
from conformance.cases import CASES
from conformance.run import JUDGED, Report, Result

SPECIFICATIONS: Mapping[str, str] = MappingProxyType(
    {"htsget": "htsget 1.3", "refget": "refget 2.0", "seqcol": "Sequence Collections 1.0"}
)
"""What a protocol's cases are taken from, by the names of the protocols."""


@dataclass(frozen=True, slots=True)
class Part:
    """The results of a protocol, or of one of its groups, which `name` names."""

    name: str
    results: tuple[Result, ...]

    @property
    def counts(self) -> Counter[Outcome]:
        return Counter(each.outcome for each in self.results)

    @property
    def requirements(self) -> tuple[tuple[Requirement, Counter[Outcome]], ...]:
        """The counts of each requirement that it has cases of."""
        return tuple(
            (level, Counter(each.outcome for each in self.results if level is of(each)))
            for level in Requirement
            if any(level is of(each) for each in self.results)
        )

    @property
    def whole(self) -> bool:
        """Whether it has all cases that the suite has of the protocol."""
        return {each.case.name for each in self.results} >= {
            each.name for each in CASES if each.protocol == self.name
        }

    @property
    def judged(self) -> bool:
        return any(each.outcome in JUDGED for each in self.results)

    @property
    def met(self) -> Requirement | None:
        """The highest level at which nothing failed, at this level or below, and something passed;
        None: not even what must be."""
        met = None
        for level, counts in self.requirements:
            if counts[Outcome.FAILED] or counts[Outcome.WARNED] or counts[Outcome.ERROR]:
                break
            if counts[Outcome.PASSED]:
                met = level
        return met

    @property
    def groups(self) -> "tuple[Part, ...]":
        """Its results, by their groups, in the order of the cases."""
        names = dict.fromkeys(each.case.group for each in self.results)
        return tuple(
            Part(name, tuple(each for each in self.results if each.case.group == name))
            for name in names
        )


def of(result: Result) -> Requirement:
    """What the case of a result requires."""
    return result.case.requirement


def protocols(report: Report) -> tuple[Part, ...]:
    """The results by protocols, in the order of the cases."""
    names = dict.fromkeys(each.case.protocol for each in report.results)
    return tuple(
        Part(name, tuple(each for each in report.results if each.case.protocol == name))
        for name in names
    )


def verdict(report: Report) -> str:
    """One sentence: whether the server passes, at which level, and what of."""
    if report.interrupted:
        return f"interrupted after {len(report.results)} of {report.asked} cases: no verdict"
    parts = protocols(report)
    judged = [_subject(each) for each in parts if each.judged]
    if not judged:
        return "nothing could be judged: no case passed or failed"
    unjudged = [_subject(each) for each in parts if not each.judged]
    counts, level = report.counts, report.level.name.lower()
    found = [
        _number(counts[outcome], word)
        for outcome, word in (
            (Outcome.FAILED, "failure"),
            (Outcome.ERROR, "error"),
            (Outcome.WARNED, "warning"),
        )
        if counts[outcome]
    ]
    verb = "passes" if report.passed else "does not pass"
    clauses = [f"{verb} {_listed(judged)} at level {level}", *([", ".join(found)] if found else [])]
    if unjudged:
        clauses.append(f"{_listed(unjudged)} could not be judged")
    return "; ".join(clauses)


def level_met(part: Part) -> str:
    """The highest level that a protocol's cases meet, in words; empty when not all were run."""
    if not part.judged:
        return "not judged"
    if not part.whole:
        return ""
    return f"meets {part.met.name.lower()}" if part.met is not None else "does not meet must"


def suite_version() -> str:
    """The version of the package that the suite comes in."""
    try:
        return version("htsgate")
    except PackageNotFoundError:
        return "0"


def _subject(part: Part) -> str:
    name = SPECIFICATIONS.get(part.name, part.name)
    return name if part.whole else f"{_number(len(part.results), 'case')} of {name}"


def _number(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if names[1:] else names[0]
