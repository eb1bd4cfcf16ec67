"""Looks several times a second whether policy or consent has changed, and stops what they no longer
allow: a withdrawal holds within a second, also for what is on its way."""

import asyncio
import logging
import time

from server.access.block_gate import BlockGate
from server.access.gate import Gate
from server.access.quota_ledger import QuotaLedger
from server.access.ticket_store import TicketStore

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
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look once, and begin. Raises `DatabaseUnavailable`, `InvalidConfiguration`."""
        await self._gate.look()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> None:
        """See what holds now, and stop what it no longer allows."""
        await self._gate.look()
        self._blocks.drop(await self._ledger.heartbeat())
        await self._blocks.cut()

    async def _run(self) -> None:
        swept = time.monotonic()
        is_failing = False
        while True:
            await asyncio.sleep(_SECONDS)
            try:
                await self.look()
                if time.monotonic() - swept > _SWEEP_SECONDS:
                    swept = time.monotonic()
                    await self._tickets.forget_expired(self._gate.now())
                is_failing = False
            except Exception as error:  # noqa: BLE001 - data stay closed until it is mended
                if not is_failing:
                    _log.error("policy and consent cannot be looked at: %r", error)
                is_failing = True
                if self._gate.is_stale:
                    await self._blocks.cut()
