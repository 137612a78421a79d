"""A worker without work gives the memory of its models back, or leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable

from shared.s3.clock import Clock

EVERY_S = 5.0


class WhenIdle:
    """Calls `act` once in every pause between photos that lasts `limit_s`, and never
    where that is 0.
    """

    def __init__(
        self,
        limit_s: float,
        clock: Clock,
        has_work: Callable[[], bool],
        act: Callable[[], object],
    ) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._has_work = has_work
        self._act = act
        self._idle_since_s: float | None = None
        self._is_done = False

    def run(self, closing: threading.Event) -> None:
        """Look again and again until `closing`."""
        if not self._limit_s:
            return
        while not closing.wait(min(EVERY_S, self._limit_s)):
            self.look()

    def look(self) -> None:
        """Act if the pause has lasted long enough."""
        if self._has_work():
            self._idle_since_s = None
            self._is_done = False
            return
        now_s = self._clock.monotonic()
        if self._idle_since_s is None:
            self._idle_since_s = now_s
        if not self._is_done and now_s - self._idle_since_s >= self._limit_s:
            self._act()
            self._is_done = True
