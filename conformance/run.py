"""Running cases against a server, and what came of them."""

import platform
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from conformance.case import Case, Failed, Outcome, Requirement, Skipped
from conformance.dataset import Dataset
from conformance.http import Client, Unreachable
from conformance.site import Site

NOT_MET = frozenset({Outcome.FAILED, Outcome.ERROR})
"""What a server does not pass with."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a case: why, if it did not pass, and the requests that it made."""

    case: Case
    outcome: Outcome
    message: str
    exchanges: tuple[str, ...]
    started: datetime
    seconds: float

    @property
    def ended(self) -> datetime:
        return datetime.fromtimestamp(self.started.timestamp() + self.seconds, UTC)


@dataclass(frozen=True, slots=True)
class Report:
    """All results, in the order of the cases."""

    url: str
    dataset: str
    level: Requirement
    results: tuple[Result, ...]
    started: datetime
    ended: datetime

    @property
    def counts(self) -> Counter[Outcome]:
        return Counter(result.outcome for result in self.results)

    @property
    def judged(self) -> bool:
        """Whether anything was: a report of skipped cases says nothing."""
        return any(each.outcome is not Outcome.SKIPPED for each in self.results)

    @property
    def passed(self) -> bool:
        """Whether the server does all that the level asks for, as far as it could be asked."""
        return self.judged and not any(each.outcome in NOT_MET for each in self.results)

    @property
    def platform(self) -> str:
        return f"Python {platform.python_version()}"


def run(
    url: str,
    dataset: Dataset,
    cases: Iterable[Case],
    level: Requirement,
    client: Client,
    tell: Callable[[Result], None] = lambda _: None,
) -> Report:
    """Judge a server by each case in turn; `tell` is called with each result as it comes.

    A failure of what `level` does not ask for is a warning.
    """
    started = datetime.now(UTC)
    results = []
    with ExitStack() as resources:
        site = Site(url, dataset, client, resources)
        for each in cases:
            results.append(_judge(each, site, level))
            tell(results[-1])
    return Report(site.base, dataset.name, level, tuple(results), started, datetime.now(UTC))


def _judge(case: Case, site: Site, level: Requirement) -> Result:
    started, clock = datetime.now(UTC), time.perf_counter()
    outcome, message = Outcome.PASSED, ""
    try:
        case.check(site)
    except Skipped as reason:
        outcome, message = Outcome.SKIPPED, str(reason)
    except Failed as reason:
        outcome = Outcome.FAILED if case.requirement <= level else Outcome.WARNED
        message = str(reason)
    except Unreachable as reason:
        outcome, message = Outcome.ERROR, str(reason)
    except Exception:  # noqa: BLE001 - whatever a server sends, the other cases are judged
        outcome, message = Outcome.ERROR, traceback.format_exc(limit=-3)
    seconds = time.perf_counter() - clock
    return Result(case, outcome, message, site.client.noted(), started, seconds)
