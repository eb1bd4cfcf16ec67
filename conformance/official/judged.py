"""What the outcome of a public suite is held against: the best that a server can reach.

The suites' exit codes say nothing, so their reports are read. An outcome is what `inside.py` prints
for a suite: `suite` (name and version), the names that `passed`, were `skipped` and `failed`, and
the counts of its own `summary`; or `suite` with `missing` or `broken` and the reason.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class Best:
    """What a server can reach: how many tests pass, and which are skipped.

    `summary`: the counts in the suite's own report, as far as it makes one.
    """

    passed: int
    skipped: frozenset[str] = frozenset()
    summary: Mapping[str, int] = field(default_factory=dict)


BEST: Mapping[str, Best] = MappingProxyType(
    {
        # `compared` is counted by inside.py: the suite itself compares nothing of VCF.
        "ga4gh-htsget-compliance 1.": Best(
            12,
            summary={"passed": 12, "warned": 0, "failed": 0, "skipped": 0, "compared": 12},
        ),
        # A server with circular sequences cannot be tested for having none; and who has the block
        # of version 2 in service-info is not asked for that of version 1.
        "refget-compliance 2.": Best(
            35,
            frozenset({"test_sequence_circular_support_false_errors", "test_info_api_version"}),
            {"passed": 68, "skipped": 2, "failed": 0, "warned": 0, "unknown": 0},
        ),
        "refget-compliance 1.": Best(
            29, frozenset({"test_sequence_circular_support_false_errors"})
        ),
        "refget 0.12.": Best(65),
    }
)
"""By what the name and version of a suite begin with."""


def judge(outcome: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the outcome of a suite; nothing when it is the best there is, or the
    suite is missing."""
    suite = str(outcome["suite"])
    if "missing" in outcome:
        return
    if "broken" in outcome:
        yield f"{suite}: broke off: {outcome['broken']}"
        return
    best = next((each for name, each in BEST.items() if suite.startswith(name)), None)
    if best is None:
        yield f"{suite}: no score is known for this version"
        return
    for name in outcome["failed"]:
        yield f"{suite}: failed: {name}"
    for name in sorted(best.skipped.symmetric_difference(outcome["skipped"])):
        skipped = name in outcome["skipped"]
        yield f"{suite}: {'skipped' if skipped else 'not skipped'}: {name}"
    if len(outcome["passed"]) != best.passed:
        yield f"{suite}: {len(outcome['passed'])} passed, not {best.passed}"
    for name, count in best.summary.items():
        if outcome["summary"].get(name) != count:
            yield f"{suite}: its report says {name}: {outcome['summary'].get(name)}, not {count}"


def describe(outcome: Mapping[str, Any]) -> Iterator[str]:
    """The outcome of a suite in one line, and in another what the suite leaves out."""
    suite = str(outcome["suite"])
    if "missing" in outcome:
        yield f"{suite}: not run: {outcome['missing']}"
        return
    if "broken" in outcome:
        yield f"{suite}: could not be run to its end"
        return
    names = ("passed", "skipped", "failed")
    yield f"{suite}: {', '.join(f'{len(outcome[name])} {name}' for name in names)}"
    if empty := outcome.get("compares_nothing"):
        yield (
            f"  in {len(empty)} of these it compares nothing: {', '.join(empty)}; compared here, "
            f"header and every column: {outcome['summary'].get('compared')} equal"
        )
