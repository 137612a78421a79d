"""How long it takes: a photo's place among those that wait, and the seconds that the
medians of the audit log let one expect.

All of it is an estimate. Users take turns, interactive photos go before bulk ones, and
small photos pass big ones; the audit log knows none of that, and is seconds late.
"""

from __future__ import annotations

import threading

from pydantic import BaseModel, Field

from handlers.audit_log.columns import Row
from handlers.audit_log.database import AuditLog
from handlers.audit_log.values import Pace
from shared.s3.clock import Clock

FRESH_S = 10.0
MOST = 10_000
"""Photos that are counted."""


class Place(BaseModel):
    """Where a photo stands. `place`: 1 for the next one."""

    place: int
    expected_s: float | None = Field(
        None, description="Until it is done [s]; null: no such photo was done of late."
    )


class Expectations:
    """The pace of the last photos, read at most once in `FRESH_S`. Thread-safe."""

    def __init__(self, audit_log: AuditLog, clock: Clock) -> None:
        self._audit_log = audit_log
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._paces: dict[str, Pace] = {}

    def place(self, row: Row) -> Place:
        """The place of an upload that waits. Raises `DatabaseUnavailable`."""
        ref = row.upload_id, row.upload_time
        waiting, in_work = self._audit_log.queue(MOST, ref)
        pixels = (row.width or 0) * (row.height or 0)
        expected_s = self.seconds(waiting, in_work, row.workflow_type, pixels)
        return Place(place=waiting + 1, expected_s=expected_s)

    def queue(self) -> tuple[int, int]:
        """How many photos wait, and are in work. Raises `DatabaseUnavailable`."""
        return self._audit_log.queue(MOST)

    def seconds(
        self,
        waiting: int,
        in_work: int,
        workflow: str | None,
        pixels: int,
    ) -> float | None:
        """Seconds until a photo is done before which others wait; None: unknown."""
        paces = self._fresh()
        own = paces.get(workflow or "")
        if own is None:
            return None
        own_s = own.seconds_per_pixel * pixels if pixels else own.seconds
        return round(self._wait_s(waiting, in_work, paces) + own_s, 1)

    def wait_s(self, waiting: int, in_work: int) -> float:
        """Seconds until those that wait have begun."""
        return self._wait_s(waiting, in_work, self._fresh())

    def _wait_s(self, waiting: int, in_work: int, paces: dict[str, Pace]) -> float:
        photos = sum(pace.photos for pace in paces.values())
        if not photos:
            return 0.0
        total_s = sum(pace.seconds * pace.photos for pace in paces.values())
        return waiting * total_s / photos / max(in_work, 1)

    def _fresh(self) -> dict[str, Pace]:
        with self._lock:
            now = self._clock.monotonic()
            if now - self._read_at > FRESH_S:
                self._paces = self._audit_log.paces()
                self._read_at = now
            return self._paces
