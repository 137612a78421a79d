"""Time that only a test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class FakeClock:
    """Time that only a test moves."""

    def __init__(
        self, start: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    ) -> None:
        self.current = start
        self._started = start

    def now(self) -> datetime:
        return self.current

    def monotonic(self) -> float:
        return (self.current - self._started).total_seconds()

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self.current += timedelta(seconds=seconds)
