"""Running cases against a server, and what came of them."""

import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby

from conformance.case import Case, Failed, Outcome, Requirement, Skipped
from conformance.dataset import Dataset
from conformance.http import Broken, Client, Unreachable
from conformance.site import Site

NOT_MET = frozenset({Outcome.FAILED, Outcome.ERROR})
"""What a server does not pass with."""

JUDGED = frozenset({Outcome.PASSED, Outcome.FAILED, Outcome.WARNED})
"""What says something of a server."""


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
    """All results, in the order of the cases. `asked`: of how many cases; fewer results are those
    of a run that was interrupted."""

    url: str
    dataset: str
    level: Requirement
    results: tuple[Result, ...]
    started: datetime
    ended: datetime
    asked: int

    @property
    def interrupted(self) -> bool:
        return len(self.results) < self.asked

    @property
    def counts(self) -> Counter[Outcome]:
        return Counter(result.outcome for result in self.results)

    @property
    def judged(self) -> bool:
        """Whether anything was: a report of skipped cases says nothing, nor one of errors."""
        return any(each.outcome in JUDGED for each in self.results)

    @property
    def passed(self) -> bool:
        """Whether the server does all that the level asks for, as far as it could be asked."""
        met = not any(each.outcome in NOT_MET for each in self.results)
        return met and self.judged and not self.interrupted


def run(
    url: str,
    dataset: Dataset,
    cases: Iterable[Case],
    level: Requirement,
    client: Client,
    tell: Callable[[Result], None] = lambda _: None,
) -> Report:
    """Judge a server by each case in turn; `tell` is called with each result as it comes.

    A failure of what `level` does not ask for is a warning. Ctrl-C ends the run, not the report.
    """
    started, chosen = datetime.now(UTC), tuple(cases)
    results: list[Result] = []
    client.redaction.learn_token(dataset.token)
    client.redaction.learn_token(dataset.controlled.token if dataset.controlled else None)
    with ExitStack() as resources, suppress(KeyboardInterrupt):
        site = Site(url, dataset, client, resources)
        for each in chosen:
            results.append(_judge(each, site, level))
            tell(results[-1])
    return Report(
        url.rstrip("/"),
        dataset.name,
        level,
        tuple(results),
        started,
        datetime.now(UTC),
        len(chosen),
    )


def _judge(case: Case, site: Site, level: Requirement) -> Result:
    started, clock = datetime.now(UTC), time.perf_counter()
    outcome, message = Outcome.PASSED, ""
    try:
        case.check(site)
    except Skipped as reason:
        outcome, message = Outcome.SKIPPED, str(reason)
    except (Failed, Broken) as reason:
        outcome = Outcome.FAILED if case.requirement <= level else Outcome.WARNED
        message = str(reason)
    except Unreachable as reason:
        outcome, message = Outcome.ERROR, str(reason)
    except Exception:  # noqa: BLE001 - whatever a server sends, the other cases are judged
        outcome, message = Outcome.ERROR, traceback.format_exc(limit=-3)
    seconds = time.perf_counter() - clock
    clean = site.client.redaction
    exchanges = tuple(_counted(map(lru_cache(clean), site.client.noted())))
    return Result(case, outcome, clean(message), exchanges, started, seconds)


def _counted(exchanges: Iterable[str]) -> Iterator[str]:
    """Exchanges, with how many they were where the same is made again and again."""
    for each, same in groupby(exchanges):
        number = sum(1 for _ in same)
        yield f"{each} ({number} times)" if number > 1 else each
