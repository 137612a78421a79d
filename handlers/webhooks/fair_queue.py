"""Which pending webhooks are sent next.

First attempts go before later ones, so dead receivers delay nobody else. No host and no
user takes more than a share of the threads: a user may have many host names, and a host
many users.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from handlers.webhooks.call_log import PendingCall

MAX_CALLS = 32
MAX_LATER_CALLS = MAX_CALLS // 2
"""Calls under way up to which an attempt after the first one may begin."""
MAX_PER_HOST = 4
MAX_PER_USER = 8

Share = tuple[Literal["host", "user"], str]
_MAX_OF_SHARE = {"host": MAX_PER_HOST, "user": MAX_PER_USER}


class _Waiting(NamedTuple):
    """An entry of the heap: ordered by time, then by upload."""

    due_at_s: float
    upload_id: str
    call: PendingCall


class FairQueue:
    """Pending webhooks by the time at which they are due. Not thread-safe."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._first_attempts: list[_Waiting] = []
        self._later_attempts: list[_Waiting] = []
        self._blocked: defaultdict[Share, deque[PendingCall]] = defaultdict(deque)
        """Webhooks that are due, by the host or user whose share is in use."""
        self._in_use: Counter[Share] = Counter()
        self._under_way = 0

    def add(self, call: PendingCall, wait_s: float) -> None:
        """Queue a webhook that is due in `wait_s` seconds."""
        heap = self._later_attempts if call.attempt else self._first_attempts
        due_at_s = self._now_s() + wait_s
        heapq.heappush(heap, _Waiting(due_at_s, call.upload_id, call))

    def take_ready(self) -> Iterator[PendingCall]:
        """Yield the webhooks to send now. Each is given back by `release`."""
        for heap, limit in self._heaps():
            while self._is_ready(heap, limit):
                call = heapq.heappop(heap).call
                blocking = self._blocking_share(call)
                if blocking is None:
                    self._in_use.update(_shares_of(call))
                    self._under_way += 1
                    yield call
                else:
                    self._blocked[blocking].append(call)
                    # If a blocked webhook was let in for this one's sake, another
                    # gets its turn.
                    for share in _shares_of(call):
                        self._unblock_next(share)

    def release(self, call: PendingCall) -> None:
        """End a webhook that `take_ready` yielded; its shares are free again."""
        self._under_way -= 1
        self._in_use.subtract(_shares_of(call))
        for share in _shares_of(call):
            self._unblock_next(share)
            if not self._in_use[share]:
                del self._in_use[share]

    def next_due_s(self) -> float | None:
        """Return the seconds until the next webhook is due. None: nothing can begin
        before something is added or released.
        """
        startable = [
            heap for heap, limit in self._heaps() if heap and self._under_way < limit
        ]
        if not startable:
            return None
        earliest_s = min(heap[0].due_at_s for heap in startable)
        return max(0.0, earliest_s - self._now_s())

    def blocked(self) -> int:
        """Return how many webhooks are due and wait for a share."""
        return sum(map(len, self._blocked.values()))

    def _heaps(self) -> tuple[tuple[list[_Waiting], int], ...]:
        return (
            (self._first_attempts, MAX_CALLS),
            (self._later_attempts, MAX_LATER_CALLS),
        )

    def _is_ready(self, heap: list[_Waiting], limit: int) -> bool:
        if not heap or self._under_way >= limit:
            return False
        return heap[0].due_at_s <= self._now_s()

    def _blocking_share(self, call: PendingCall) -> Share | None:
        """Return the host or user of this webhook that has its full share under way."""
        for share in _shares_of(call):
            if self._is_full(share):
                return share
        return None

    def _is_full(self, share: Share) -> bool:
        kind, _ = share
        return self._in_use[share] >= _MAX_OF_SHARE[kind]

    def _unblock_next(self, share: Share) -> None:
        """Queue the first webhook that was blocked by this share alone, if it has room.

        One that is blocked by its other share by now waits for that one instead.
        """
        waiting = self._blocked.get(share)
        while waiting and not self._is_full(share):
            call = waiting.popleft()
            blocking = self._blocking_share(call)
            if blocking is None:
                self.add(call, 0.0)
                break
            self._blocked[blocking].append(call)
        if not waiting:
            self._blocked.pop(share, None)


def _shares_of(call: PendingCall) -> tuple[Share, Share]:
    return ("host", call.host), ("user", call.user)
