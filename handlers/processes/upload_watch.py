"""Looks for trouble among the events that the recorder writes: photos that fail in a
row, and bursts of uploads, by whatever way these come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta

from shared.errors import Code, MessageError
from shared.notices import Publisher, tell
from shared.runtime.settings import NoticeSettings
from shared.uploads.messages import LogEvent

FRESH = timedelta(minutes=5)
"""Older events are repetitions, as a rebuilt log has them, and no news."""
MINUTE = timedelta(minutes=1)
DECIDED = ("queued", "duplicate", "rejected")
TAKEN_BACK = (Code.CANCELLED, Code.ERASED)


class UploadWatch:
    """Used by the writer's thread only."""

    def __init__(self, settings: NoticeSettings, publisher: Publisher) -> None:
        self._settings = settings
        self._publisher = publisher
        self._failures = 0
        self._uploads: deque[datetime] = deque()
        self._is_burst = False

    def look(self, bodies: Iterable[bytes], now: datetime) -> None:
        """Look at events that were committed. Each run of failures, and each burst, is
        told once.
        """
        for body in bodies:
            try:
                event = LogEvent.decode(body)
            except MessageError:
                continue
            if now - event.at < FRESH:
                self._see(event)
        self._look_for_burst(now)

    def _see(self, event: LogEvent) -> None:
        if event.kind in DECIDED:
            self._uploads.append(event.at)
        elif event.kind == "success":
            self._failures = 0
        elif event.kind == "failed" and _code(event) not in TAKEN_BACK:
            self._failures += 1
            if self._failures == self._settings.notice_failures:
                detail = f"photos that failed in a row: {self._failures}, the last one by {_code(event)}"
                tell(self._publisher, "failures", detail)

    def _look_for_burst(self, now: datetime) -> None:
        while self._uploads and now - self._uploads[0] > MINUTE:
            self._uploads.popleft()
        number, limit = len(self._uploads), self._settings.notice_uploads_per_min
        if number >= limit and not self._is_burst:
            self._is_burst = True
            tell(self._publisher, "burst", f"{number} uploads within a minute")
        elif number < limit / 2:
            self._is_burst = False


def _code(event: LogEvent) -> str:
    return str(event.fields.get("error_code", ""))
