"""The policy in force: read again when its files change, all of it or nothing."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from auth.audit.record import Event
from auth.errors import InvalidConfiguration
from auth.policy.evaluation import Policy, load_policy

_CHECK_SECONDS = 0.5
_log = logging.getLogger(__name__)

Stamp = tuple[int, int, int] | None


class PolicyFile:
    """A policy by the path of its file.

    `judge` refuses, by raising `InvalidConfiguration`, a policy that does not go with what is
    served; `note` writes down what was loaded and what was not. Raises `InvalidConfiguration` for
    the first policy; a later one that cannot be used leaves the one before in force.
    """

    def __init__(
        self, path: Path, judge: Callable[[Policy], None], note: Callable[[Event], None]
    ) -> None:
        self._path = path
        self._judge = judge
        self._note = note
        self.changed: Callable[[Policy], None] = lambda policy: None
        """Called with a policy that was taken up."""
        before = self._look((path,))
        self.current = load_policy(path)
        judge(self.current)
        self._stamps = self._look(self.current.files) | before
        self._checked = time.monotonic()

    async def refresh(self) -> bool:
        """Take up what was changed, if anything was; whether the policy is another now."""
        if time.monotonic() - self._checked < _CHECK_SECONDS:
            return False
        self._checked = time.monotonic()
        stamps = await asyncio.to_thread(self._look, self._stamps)
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        try:
            policy = await asyncio.to_thread(self._load)
        except InvalidConfiguration as error:
            _log.error("the policy was changed and cannot be used; the old one stays: %s", error)
            self._note({"event": "policy.rejected", "policy_version": self.current.version})
            return False
        is_another = policy.version != self.current.version
        self.current = policy
        self.changed(policy)
        # As they were before they were read: what changed meanwhile is read again.
        found = await asyncio.to_thread(self._look, policy.files)
        self._stamps = {each: stamps.get(each, stamp) for each, stamp in found.items()}
        self.announce()
        return is_another

    def announce(self) -> None:
        """Write down which policy is in force."""
        self._note({"event": "policy.loaded", "policy_version": self.current.version})

    def _load(self) -> Policy:
        policy = load_policy(self._path)
        self._judge(policy)
        return policy

    @staticmethod
    def _look(paths: Iterable[Path]) -> dict[Path, Stamp]:
        stamps: dict[Path, Stamp] = {}
        for path in paths:
            try:
                status = path.stat()
                stamps[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
            except OSError:
                stamps[path] = None
        return stamps
