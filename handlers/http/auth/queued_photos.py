"""Limits the photos of one user that wait for a worker, so that no user fills the queue.

The audit log has the count, and no request waits for the audit log: it is queried
beside the requests, at most once in `FRESH_S` for a user, and uploads since then are
added. While the database is down the last count holds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from shared.errors import DatabaseUnavailable
from shared.s3.clock import Clock

FRESH_S = 5.0
RETRY_S = 10
"""When a user whose photos fill the quota may try again."""
MOST_USERS = 20_000
"""Users remembered; the one longest unseen is forgotten."""

Count = Callable[[str, int], int]
"""(user_hash, most) → photos of this user that wait, counted up to `most`. Raises
`DatabaseUnavailable`.
"""


@dataclass
class _User:
    queued: int = 0
    new: int = 0
    """Uploads since `queued` was counted."""
    counted_at: float = float("-inf")


class QueuedPhotos:
    """In the memory of this process, and thread-safe."""

    def __init__(
        self,
        count: Count,
        quota: int,
        clock: Clock,
    ) -> None:
        self.quota = quota
        self._count = count
        self._clock = clock
        self._lock = threading.Lock()
        self._users: OrderedDict[str, _User] = OrderedDict()
        self._counter = ThreadPoolExecutor(1, "queued-photos")

    def admits(self, user_hash: str) -> bool:
        """Whether this user may upload one more photo. If so, it is counted."""
        with self._lock:
            user = self._user(user_hash)
            self._refresh(user_hash, user)
            if user.queued + user.new >= self.quota:
                return False
            user.new += 1
            return True

    def _user(self, user_hash: str) -> _User:
        user = self._users.setdefault(user_hash, _User())
        self._users.move_to_end(user_hash)
        if len(self._users) > MOST_USERS:
            self._users.popitem(last=False)
        return user

    def _refresh(self, user_hash: str, user: _User) -> None:
        now = self._clock.monotonic()
        if now >= user.counted_at + FRESH_S:
            user.counted_at = now
            self._counter.submit(self._recount, user_hash, user, user.new)

    def _recount(
        self,
        user_hash: str,
        user: _User,
        counted: int,
    ) -> None:
        try:
            queued = self._count(user_hash, self.quota)
        except DatabaseUnavailable:
            return
        with self._lock:
            user.queued = queued
            user.new -= counted
