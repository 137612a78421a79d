"""Tells the bucket what this worker can do: at the start, when that changes, and once a
day as long as it lives.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from shared.errors import DarkroomError
from shared.offers import STALE, Announcement
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger
from shared.s3.clock import Clock
from shared.s3.store import ObjectStore
from shared.uploads import keys

LOOK_S = 10.0
"""Between two looks at this machine, which cost no call of the store while nothing has
changed.
"""
AGAIN_S = 3600.0
"""Between two looks whether what was said is still there."""
RENEW_S = 86_400.0
REFUSED_S = 60.0
"""After a store that did not take it."""


class Announcer:
    """`store` is asked once each time: a worker whose key may not announce works all
    the same, and is not known.
    """

    def __init__(
        self,
        store: ObjectStore,
        settings: Settings,
        clock: Clock,
        survey: Callable[[], Announcement],
    ) -> None:
        self._store, self._bucket, self._clock, self._survey = (
            store,
            settings.bucket_results,
            clock,
            survey,
        )
        self._said: Announcement | None = None
        self._said_s = 0.0
        self._refused_s: float | None = None

    def run(self, closing: threading.Event) -> None:
        """Look again and again, until `closing`."""
        while not closing.wait(LOOK_S):
            self.look()

    def look(self) -> None:
        """Announce what there is to say, if there is something."""
        if (
            self._refused_s is not None
            and self._clock.monotonic() - self._refused_s < REFUSED_S
        ):
            return
        try:
            found = self._survey()
            if found != self._said or self._clock.monotonic() - self._said_s >= AGAIN_S:
                self._say(found)
            self._refused_s = None
        except (DarkroomError, OSError) as error:
            self._refused_s = self._clock.monotonic()
            logger().warning("worker.unannounced", detail=str(error))

    def _say(self, found: Announcement) -> None:
        changed, there = found != self._said, False
        for info in list(self._store.list(self._bucket, keys.WORKERS)):
            if info.key == found.place():
                there = info.age_s < RENEW_S
            elif (
                changed and keys.host_of_worker(info.key) == found.host
            ) or info.age_s > STALE.total_seconds():
                self._store.delete(info.bucket, info.key)
        if not there:
            self._store.put(
                self._bucket, found.place(), found.to_bytes(), "application/json"
            )
        self._said, self._said_s = found, self._clock.monotonic()
        if changed:
            logger().info("worker.announced", kind=found.kind)
