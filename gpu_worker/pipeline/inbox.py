"""Deliveries that wait inside the worker. Interactive photos go before bulk photos,
which are not starved; the lanes of each take turns.
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
        self._queues: dict[str, deque[Delivery]]
        self._queues = {queue: deque() for queue in topology.RESTORE}
        self._bulk_lanes = deque(topology.LANES)
        self._interactive_lanes = deque(topology.INTERACTIVE_LANES)
        self._interactive_lanes.appendleft(topology.PREVIEW)
        self._parked: list[tuple[float, int, Delivery]] = []
        self._order = count()
        self._interactive_in_a_row = 0

    def put(self, delivery: Delivery) -> None:
        with self._changed:
            self._queues[delivery.queue].append(delivery)
            self._changed.notify()

    def park(self, delivery: Delivery, seconds: float) -> None:
        """Offer this delivery again in `seconds`."""
        due_s = self._clock.monotonic() + seconds
        with self._changed:
            # The number keeps deliveries that are due together from being compared.
            heapq.heappush(self._parked, (due_s, next(self._order), delivery))

    def next(self, timeout_s: float) -> Delivery | None:
        """The delivery whose turn it is, or None after `timeout_s` without one."""
        with self._changed:
            delivery = self._pick()
            if delivery is None:
                self._changed.wait(timeout_s)
                delivery = self._pick()
            return delivery

    def waits(self) -> bool:
        """Whether any delivery is here, parked ones included."""
        with self._changed:
            return bool(self._parked) or any(self._queues.values())

    def _pick(self) -> Delivery | None:
        parked = self._pick_parked()
        if parked is not None:
            return parked
        interactive = self._next_lane(self._interactive_lanes)
        bulk = self._next_lane(self._bulk_lanes)
        is_bulk_turn = self._interactive_in_a_row >= BULK_TURN
        if interactive and not (bulk and is_bulk_turn):
            self._interactive_in_a_row += 1
            return self._take(self._interactive_lanes, interactive)
        if bulk:
            self._interactive_in_a_row = 0
            return self._take(self._bulk_lanes, bulk)
        return None

    def _pick_parked(self) -> Delivery | None:
        if not self._parked:
            return None
        due_s, _, delivery = self._parked[0]
        if due_s > self._clock.monotonic():
            return None
        heapq.heappop(self._parked)
        return delivery

    def _next_lane(self, lanes: deque[str]) -> str | None:
        return next((lane for lane in lanes if self._queues[lane]), None)

    def _take(self, lanes: deque[str], lane: str) -> Delivery:
        lanes.remove(lane)
        lanes.append(lane)  # its next turn comes after that of all others
        return self._queues[lane].popleft()
