"""How many photos of one user wait for their turn, so that nobody fills the queue
alone.

The log knows, and nobody waits for the log: its count is asked for beside the requests,
at most once in `FRESH_S` for a user, and what was announced since is added. While the
database is down the last count holds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from handlers.http.auth.buckets import MOST
from shared.errors import DatabaseUnavailable
from shared.s3.clock import Clock

FRESH_S = 5.0
RETRY_S = 10
"""When somebody whose photos fill the quota may ask again."""

Count = Callable[[str, int], int]
"""(user_hash, most) → photos of this user that wait, counted up to `most`. Raises
`DatabaseUnavailable`.
"""


@dataclass
class _Seen:
    waiting: int = 0
    announced: int = 0
    counted_at: float = float("-inf")


class Waiting:
    """In the memory of this process, and thread-safe."""

    def __init__(self, count: Count, quota: int, clock: Clock) -> None:
        self.quota = quota
        self._count, self._clock = count, clock
        self._lock = threading.Lock()
        self._users: OrderedDict[str, _Seen] = OrderedDict()
        self._counter = ThreadPoolExecutor(1, "waiting")

    def admits(self, user_hash: str) -> bool:
        """May this user announce one more photo? If so, it is counted."""
        with self._lock:
            seen = self._users.setdefault(user_hash, _Seen())
            self._users.move_to_end(user_hash)
            if len(self._users) > MOST:
                self._users.popitem(last=False)
            if self._clock.monotonic() >= seen.counted_at + FRESH_S:
                seen.counted_at = self._clock.monotonic()
                self._counter.submit(self._look, user_hash, seen, seen.announced)
            if seen.waiting + seen.announced >= self.quota:
                return False
            seen.announced += 1
            return True

    def _look(self, user_hash: str, seen: _Seen, announced: int) -> None:
        try:
            waiting = self._count(user_hash, self.quota)
        except DatabaseUnavailable:
            return
        with self._lock:
            seen.waiting, seen.announced = waiting, seen.announced - announced
