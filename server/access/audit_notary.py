"""When checkpoints are made, and where they are copied to: one at a time for all processes.

Made in the transactions of those who write, which come one after the other; copied after them.
"""

import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from auth.audit.chain import GENESIS, Anchor
from auth.audit.checkpoints import Checkpoint
from server.access.audit_chain import (
    READ_AT_ONCE,
    add_checkpoint,
    last_checkpoint,
    read_checkpoints,
    read_document,
)
from server.access.audit_checkpoint_files import append_documents, newest
from server.database import Database, DatabaseUnavailable

_AGAIN_SECONDS = 10.0
_AT_ONCE = 500
_log = logging.getLogger(__name__)


def timestamp(seconds: float) -> str:
    """A time since the epoch as RFC 3339 in UTC, with milliseconds."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


class Notary:
    """Makes the checkpoints of one chain: every `every_seconds` or `every_records`.

    Without a key they are not signed; without a key and a folder there are none. For one thread.
    """

    def __init__(
        self,
        chain: str,
        signer: Ed25519PrivateKey | None,
        folder: Path | None,
        clock: Callable[[], float],
        *,
        every_seconds: float,
        every_records: int,
    ) -> None:
        self._chain = chain
        self._signer = signer
        self._folder = folder
        self._clock = clock
        self._seconds = every_seconds
        self._records = every_records
        self._due = 0.0  # of the monotonic clock
        self._seen = 0  # the record that the last checkpoint is known to be of
        self._copied: int | None = None  # the number of the last checkpoint in the folder
        self._made = False
        self._again = 0.0  # when to copy, though nothing was made
        self._is_behind = False  # there is more to copy than was copied at once
        self.is_failing = False

    @property
    def due(self) -> float | None:
        """When there is something to do though nobody writes, by the monotonic clock."""
        if self._signer is None and self._folder is None:
            return None
        return 0.0 if self._is_behind else self._due

    def forget(self) -> None:
        """The transaction of the last look failed."""
        self._due, self._made = 0.0, False

    def look(self, connection: Connection, head: Anchor, *, last: bool = False) -> None:
        """Make a checkpoint of a chain's last record if it is time, or it is the `last` chance."""
        self._made = False
        due = self.due
        if due is None or not head.seq:
            return
        if time.monotonic() < due and not last and head.seq - self._seen < self._records:
            return
        number, previous = last_checkpoint(connection, self._chain)
        now = self._clock()
        age = self._seconds
        if previous is not None:
            self._seen = previous.seq
            age = now - datetime.fromisoformat(previous.ts).timestamp()
            is_recent = 0 <= age < self._seconds  # else also if the clock was set back
            if is_recent and head.seq - previous.seq < (1 if last else self._records):
                self._due = time.monotonic() + self._seconds - age
                return
        follows = GENESIS if previous is None else previous.digest
        made = Checkpoint(self._chain, head.seq, head.hash, timestamp(now), follows)
        if self._signer is not None:
            made = made.signed(self._signer)
        add_checkpoint(connection, number + 1, made)
        self._seen, self._made = head.seq, True
        self._due = time.monotonic() + self._seconds

    def copy(self, database: Database) -> bool:
        """After the transaction: copy what was made, and what an earlier time could not be.

        Whether it just began to fail.
        """
        if self._folder is None:
            return False
        if not self._made and time.monotonic() < self._again:
            return False
        try:
            self._copy(database, self._folder)
        except (OSError, ValueError, DatabaseUnavailable) as error:
            began = not self.is_failing
            self.is_failing, self._again = True, time.monotonic() + _AGAIN_SECONDS
            self._is_behind = False
            if began:
                kind = error.strerror if isinstance(error, OSError) else type(error).__name__
                _log.error("checkpoints of the audit cannot be copied: %s", kind)
            return began
        self.is_failing, self._again = False, 0.0 if self._is_behind else math.inf
        return False

    def _copy(self, database: Database, folder: Path) -> None:
        known = newest(folder, self._chain)
        if self._copied is None:
            self._copied = self._last_copied(database, known) if known else 0
        # No more at once than some hundred: records wait meanwhile.
        missing = database.run(
            partial(read_checkpoints, chain=self._chain, after=self._copied, most=_AT_ONCE)
        )
        append_documents(
            folder, [each for each in missing if read_document(each).digest not in known]
        )
        self._copied += len(missing)
        self._is_behind = len(missing) == _AT_ONCE

    def _last_copied(self, database: Database, known: set[bytes]) -> int:
        """The number of the last checkpoint that is in the folder already."""
        end, _ = database.run(partial(last_checkpoint, chain=self._chain))
        while end:
            start = max(0, end - READ_AT_ONCE)
            documents = database.run(partial(read_checkpoints, chain=self._chain, after=start))
            for number in range(end, start, -1):
                if read_document(documents[number - start - 1]).digest in known:
                    return number
            end = start
        return 0
