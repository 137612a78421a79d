"""Deliveries that wait inside the worker: interactive before bulk, but never bulk not
at all; lanes in turn.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from itertools import count

from shared.broker import topology
from shared.broker.consumer import Delivery
from shared.s3.clock import Clock

BULK_TURN = 8
"""After this many interactive photos in a row, one bulk photo has its turn."""


class Inbox:
    """Thread-safe; bounded by the consumer's prefetch, since everything here is
    unacknowledged.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._queues: dict[str, deque[Delivery]] = {
            queue: deque() for queue in topology.RESTORE
        }
        self._bulk = deque(topology.LANES)
        self._interactive = deque((topology.PREVIEW, *topology.INTERACTIVE_LANES))
        self._parked: list[tuple[float, int, Delivery]] = []
        self._order = count()
        self._in_a_row = 0

    def put(self, delivery: Delivery) -> None:
        with self._changed:
            self._queues[delivery.queue].append(delivery)
            self._changed.notify()

    def park(self, delivery: Delivery, seconds: float) -> None:
        """Offer this delivery again in `seconds`."""
        with self._changed:
            heapq.heappush(
                self._parked,
                (self._clock.monotonic() + seconds, next(self._order), delivery),
            )

    def next(self, timeout_s: float) -> Delivery | None:
        """The delivery whose turn it is, or None after `timeout_s` without one."""
        with self._changed:
            if (delivery := self._pick()) is None:
                self._changed.wait(timeout_s)
                delivery = self._pick()
            return delivery

    def _pick(self) -> Delivery | None:
        if self._parked and self._parked[0][0] <= self._clock.monotonic():
            return heapq.heappop(self._parked)[2]
        interactive, bulk = (
            self._next_lane(self._interactive),
            self._next_lane(self._bulk),
        )
        if interactive and not (bulk and self._in_a_row >= BULK_TURN):
            self._in_a_row += 1
            return self._taken(self._interactive, interactive)
        if bulk is None:
            return None
        self._in_a_row = 0
        return self._taken(self._bulk, bulk)

    def _next_lane(self, lanes: deque[str]) -> str | None:
        return next((lane for lane in lanes if self._queues[lane]), None)

    def _taken(self, lanes: deque[str], lane: str) -> Delivery:
        lanes.remove(lane)
        lanes.append(lane)  # its next turn comes after everybody else's
        return self._queues[lane].popleft()
