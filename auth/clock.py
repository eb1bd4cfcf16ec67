"""The time of day, for rights that end: it does not go back when somebody sets the clock back."""

import time
from collections.abc import Callable


class SteadyClock:
    """Seconds since the epoch: the machine's clock, or what it said when this was made with the
    time that has passed since, whichever is later.

    A clock set back revives no expired token; one set forward and back again is believed again.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def __call__(self) -> float:
        return max(self._wall(), self._offset + self._monotonic())
