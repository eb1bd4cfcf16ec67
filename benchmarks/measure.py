"""Rounds in which contenders take turns, and the rows of figures that come of them.

A machine's speed changes within seconds, so nothing is compared but what ran in the same round: a
row is the median over rounds of the ratio within each.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Literal

Basis = Literal["wall", "CPU"]
Contender = Callable[[], "Sample"]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one contender did in its turn: `amount` requests, bytes or calls in `wall` seconds.

    `cpu`: the processor seconds of the process that is measured; None where unknown.
    """

    amount: float
    wall: float
    cpu: float | None = None

    def cost(self, basis: Basis) -> float:
        """Seconds for one unit of the amount."""
        seconds = self.wall if basis == "wall" else self.cpu
        if seconds is None:
            raise Unmeasurable("the processor time of another process is not known on this system")
        return max(seconds, 1e-9) / self.amount


class Unmeasurable(Exception):
    """A row that cannot be measured here; says why."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The bound that a value must keep, and the one it should."""

    bound: float
    stretch: float
    most: bool = False

    def met(self, value: float) -> bool:
        """Whether the value keeps the bound."""
        return value <= self.bound if self.most else value >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.most else '≥'} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `value` is None when it could not be measured; then `note` says why.

    `low` and `high` are the quartiles over `rounds`; `figures` are medians of each contender.
    """

    name: str
    title: str
    value: float | None
    low: float = 0.0
    high: float = 0.0
    unit: str = "x"
    basis: Basis = "wall"
    rounds: int = 0
    gate: Gate | None = None
    figures: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether there is a gate, and the value is not within it."""
        return self.gate is not None and self.value is not None and not self.gate.met(self.value)


def take_turns(
    contenders: Mapping[str, Contender],
    rounds: int,
    prepare: Callable[[], object] = lambda: None,
) -> dict[str, list[Sample]]:
    """The samples of each contender, one a round, after a turn each to warm up.

    `prepare` is called before each turn. Every other round goes in reverse order, so that none
    always follows the same one.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    for contender in contenders.values():
        contender()
    for number in range(rounds):
        order = list(contenders)
        for name in order if number % 2 == 0 else reversed(order):
            prepare()
            samples[name].append(contenders[name]())
    return samples


def speed_ratio(
    subject: Sequence[Sample], baseline: Sequence[Sample], basis: Basis = "wall"
) -> list[float]:
    """How many times as fast, or as cheap, the subject was: one ratio a round."""
    pairs = zip(subject, baseline, strict=True)
    return [theirs.cost(basis) / ours.cost(basis) for ours, theirs in pairs]


def row_of(
    name: str,
    title: str,
    values: Sequence[float],
    *,
    unit: str = "x",
    basis: Basis = "wall",
    gate: Gate | None = None,
    figures: Mapping[str, str] | None = None,
    note: str = "",
) -> Row:
    """A row from one value a round."""
    low, high = values[0], values[0]
    if len(values) > 1:
        low, _, high = quantiles(values, n=4, method="inclusive")
    return Row(
        name, title, median(values), low, high, unit, basis, len(values), gate, figures or {}, note
    )


def micros(samples: Sequence[Sample], basis: Basis = "CPU") -> str:
    """The median cost of one unit, as text."""
    return f"{median(sample.cost(basis) for sample in samples) * 1e6:,.1f} µs"


def millis(samples: Sequence[Sample], basis: Basis = "wall") -> str:
    """The median cost of one unit, as text."""
    return f"{median(sample.cost(basis) for sample in samples) * 1e3:,.1f} ms"


def rate(samples: Sequence[Sample]) -> str:
    """The median number of requests a second, as text."""
    return f"{median(1 / sample.cost('wall') for sample in samples):,.0f} req/s"


def throughput(samples: Sequence[Sample]) -> str:
    """The median number of bytes a second, as text."""
    return f"{median(1 / sample.cost('wall') for sample in samples) / 1e9:.2f} GB/s"
