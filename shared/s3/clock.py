"""Time is injected: code that decides by time takes a `Clock`, tests pass one that they
move.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from shared.runtime.telemetry import logger

TOLERANCE = timedelta(seconds=2)
"""So far a machine's clock may be off the store's before it is put right: the store
tells whole seconds.
"""
_SECOND = timedelta(seconds=1)
_NOTHING = timedelta()


class Clock(Protocol):
    def now(self) -> datetime:
        """Wall-clock time, UTC, aware."""

    def monotonic(self) -> float:
        """Seconds that never jump, for durations and leases."""

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class StoreClock:
    """The one time of all machines: our own clock, put right by what the object store
    says of its own. Thread-safe.

    The store refuses requests that are signed for another time than its own, and what
    machines write down is compared by others. A clock that is right within `TOLERANCE`
    is left alone.
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

    def heard(self, told: datetime, asked_s: float) -> bool:
        """The store's own time, `told` in an answer to what was asked at `asked_s`
        (monotonic).

        True: until now we were wrong. An answer that took long says little, and puts
        nobody right who may be.
        """
        least = told - self._own.now()
        most = least + _SECOND + timedelta(seconds=self._own.monotonic() - asked_s)
        if _is_within(self._behind, least, most):
            return False
        self._behind = (
            _NOTHING
            if _is_within(_NOTHING, least, most)
            else least + (most - least) / 2
        )
        logger().warning(
            "clock.corrected", seconds=round(self._behind.total_seconds(), 1)
        )
        return True


def _is_within(behind: timedelta, least: timedelta, most: timedelta) -> bool:
    return least - TOLERANCE <= behind <= most + TOLERANCE
