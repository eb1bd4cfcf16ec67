"""Looks several times a second whether policy or consent has changed, and stops what they no longer
allow: a withdrawal holds within a second, also for what is on its way."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from server.access.block_gate import BlockGate
from server.access.gate import Gate
from server.access.quota_ledger import QuotaLedger
from server.access.ticket_store import TicketStore
from server.database import DatabaseUnavailable

_SECONDS = 0.3
_SWEEP_SECONDS = 600.0
_log = logging.getLogger(__name__)


class Watch:
    """Runs from `start` to `close`."""

    def __init__(
        self, gate: Gate, blocks: BlockGate, ledger: QuotaLedger, tickets: TicketStore
    ) -> None:
        self._gate = gate
        self._blocks = blocks
        self._ledger = ledger
        self._tickets = tickets
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Look once, and begin. Raises `DatabaseUnavailable`, `InvalidConfiguration`."""
        await self._gate.look()
        # Apart, for none may wait for another: reading a policy anew takes time, and leases are
        # renewed when whoever else writes has finished.
        each = {"consent": self.look, "policy": self._follow_policy, "leases": self._renew}
        self._tasks = [asyncio.create_task(self._often(*pair)) for pair in each.items()]
        self._tasks.append(asyncio.create_task(self._tidy()))

    async def close(self) -> None:
        """Stop looking."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def look(self) -> None:
        """See what consent says now, and stop what it no longer allows."""
        await self._gate.look()
        await self._blocks.cut()

    async def _follow_policy(self) -> None:
        if await self._gate.look_at_policy():
            await self.look()

    async def _renew(self) -> None:
        self._blocks.drop(await self._ledger.heartbeat())

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            with suppress(DatabaseUnavailable):
                await self._tickets.forget_expired(self._gate.now())

    async def _often(self, what: str, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do it again and again; while that fails, or takes too long, what nobody knows to be
        allowed still ends."""
        is_failing = False
        running: asyncio.Task[None] | None = None
        try:
            while True:
                await asyncio.sleep(_SECONDS)
                running = running or asyncio.create_task(act())
                await asyncio.wait({running}, timeout=_SECONDS)
                error = None
                if running.done():
                    error, running = running.exception(), None
                    if error is not None and not is_failing:
                        _log.error("%s cannot be looked at: %r", what, error)
                    is_failing = error is not None
                if error is not None or running is not None:
                    await self._blocks.cut()
        finally:
            if running is not None:
                running.cancel()
