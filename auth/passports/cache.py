"""Callers with their visas, by the token they came with: asked for once, kept for a while."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from auth.errors import AccessError, InvalidCredential
from auth.principal import Principal

KEPT_FOR = 300.0
"""Seconds that an answer is good for, if neither token nor visas end before."""

REFUSED_FOR = 10.0
"""Seconds that a refusal is."""

_MOST_KEPT = 4096


@dataclass(frozen=True, slots=True)
class _Answer:
    """What became of a token, and until when that holds."""

    found: Principal | InvalidCredential
    until: float


class PassportCache:
    """Remembers by the digest of the token. `clock` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answers: OrderedDict[bytes, _Answer] = OrderedDict()
        self._flights: dict[bytes, asyncio.Task[_Answer | AccessError]] = {}

    def known(self, token: str) -> Principal | None:
        """What was found lately; a refusal raises `InvalidCredential`."""
        name = _name(token)
        answer = self._answers.get(name)
        if answer is None:
            return None
        if self._clock() >= answer.until:
            del self._answers[name]
            return None
        return _found(answer.found)

    async def find(self, token: str, ask: Callable[[], Awaitable[Principal]]) -> Principal:
        """What `ask` finds; however many want to know at the same time, it is asked once.

        Raises what `ask` does, any `AccessError`; only refusals are kept.
        """
        name = _name(token)
        flight = self._flights.get(name)
        if flight is None:
            flight = asyncio.create_task(self._asked(ask))
            self._flights[name] = flight
            flight.add_done_callback(lambda done: self._landed(name, done))
        answer = await asyncio.shield(flight)
        return _found(answer.found if isinstance(answer, _Answer) else answer)

    def drop(self, token: str) -> None:
        """Forget one token."""
        self._answers.pop(_name(token), None)

    def clear(self) -> None:
        """Forget all, also what is being asked."""
        self._answers.clear()
        self._flights.clear()

    async def close(self) -> None:
        """End what is being asked."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _asked(self, ask: Callable[[], Awaitable[Principal]]) -> _Answer | AccessError:
        """Returns what is raised: whoever asked may have gone."""
        try:
            found = await ask()
        except InvalidCredential as error:
            return _Answer(error, self._clock() + REFUSED_FOR)
        except AccessError as error:
            return error
        ends = [self._clock() + KEPT_FOR, *(visa.exp for visa in found.visas)]
        if found.not_after:
            ends.append(found.not_after)
        return _Answer(found, min(ends))

    def _landed(self, name: bytes, flight: "asyncio.Task[_Answer | AccessError]") -> None:
        if self._flights.get(name) is not flight:  # forgotten meanwhile
            return
        del self._flights[name]
        if flight.cancelled() or flight.exception() is not None:
            return
        answer = flight.result()
        if isinstance(answer, _Answer):
            self._answers[name] = answer
            if len(self._answers) > _MOST_KEPT:
                self._answers.popitem(last=False)


def _found(found: Principal | AccessError) -> Principal:
    if isinstance(found, InvalidCredential):  # another one each time: tracebacks grow
        raise type(found)(found.reason)
    if isinstance(found, AccessError):
        raise found
    return found


def _name(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
