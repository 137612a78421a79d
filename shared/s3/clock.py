"""Time is injected: code that decides by time takes a `Clock`, and tests pass one that
they move.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from shared.runtime.telemetry import logger

TOLERANCE = timedelta(seconds=2)
"""How far a machine's clock may be off the store's before it is corrected. The store
gives its time in whole seconds.
"""
_SECOND = timedelta(seconds=1)
_NOTHING = timedelta()


class Clock(Protocol):
    """The time of day and durations."""

    def now(self) -> datetime:
        """Wall-clock time, UTC, aware."""

    def monotonic(self) -> float:
        """Seconds that never jump, for durations and leases."""

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """This machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class StoreClock:
    """The time that all machines share: this machine's clock, corrected by the dates
    of the object store's responses. Thread-safe.

    The store refuses requests that are signed for another time than its own, and
    machines compare the times that others wrote. A clock that is right within
    `TOLERANCE` is not corrected.
    """

    def __init__(self, own: Clock | None = None) -> None:
        self._own = own or SystemClock()
        self._behind = _NOTHING

    def now(self) -> datetime:
        return self._own.now() + self._behind

    def monotonic(self) -> float:
        return self._own.monotonic()

    def sleep(self, seconds: float) -> None:
        self._own.sleep(seconds)

    def correct(self, store_time: datetime, sent_s: float) -> bool:
        """Correct this clock by `store_time`, the date of a response to a request that
        was sent at `sent_s` (monotonic). True when the clock was wrong.

        The longer a response took, the wider the span in which the store's time lies
        now; a clock within the span may be right and is left alone.
        """
        took = timedelta(seconds=self._own.monotonic() - sent_s)
        least = store_time - self._own.now()
        most = least + _SECOND + took
        if _is_within(self._behind, least, most):
            return False
        if _is_within(_NOTHING, least, most):
            self._behind = _NOTHING
        else:
            self._behind = least + (most - least) / 2
        seconds = round(self._behind.total_seconds(), 1)
        logger().warning("clock.corrected", seconds=seconds)
        return True


def _is_within(behind: timedelta, least: timedelta, most: timedelta) -> bool:
    return least - TOLERANCE <= behind <= most + TOLERANCE
