"""Which ids policy decides about, told by the id alone: nothing is looked up, so nothing leaks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ground:
    """What the location of an id says: whether it is controlled, and the datasets it names."""

    controlled: bool
    datasets: frozenset[str] = frozenset()


class Territory:
    """The locations by the prefix of their ids; "" stands for those without a name."""

    def __init__(self, grounds: Mapping[str, Ground]) -> None:
        self._named = {name: ground for name, ground in grounds.items() if name}
        # Where there is no such location, there is no such object either: that is no secret.
        self._unnamed = grounds.get("", Ground(controlled=any_controlled(grounds.values())))

    def of(self, object_id: str) -> Ground:
        """The ground that an id lies on."""
        name, slash, _ = object_id.partition("/")
        return self._named.get(name, self._unnamed) if slash else self._unnamed


def any_controlled(grounds: Iterable[Ground]) -> bool:
    """Whether there is anything to control."""
    return any(ground.controlled for ground in grounds)
