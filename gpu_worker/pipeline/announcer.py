"""Announces in the bucket what this worker can do: at the start, when that changes, and
once a day as long as it lives.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from shared.errors import DarkroomError
from shared.offers import STALE, Announcement
from shared.runtime.settings import StoreSettings
from shared.runtime.telemetry import logger
from shared.s3.clock import Clock
from shared.s3.store import ObjectInfo, ObjectStore
from shared.uploads import keys

LOOK_S = 10.0
"""Between two surveys of this machine, which cost no request to the store while nothing
has changed.
"""
AGAIN_S = 3600.0
"""Between two looks whether the announcement is still there."""
RENEW_S = 86_400.0
REFUSED_S = 60.0
"""Pause after the store refused an announcement."""

NEVER_S = float("-inf")


class Announcer:
    """Tries `store` once each time: a worker whose key may not announce works all the
    same, and is not known.
    """

    def __init__(
        self,
        store: ObjectStore,
        settings: StoreSettings,
        clock: Clock,
        survey: Callable[[], Announcement],
    ) -> None:
        self._store = store
        self._bucket = settings.bucket_results
        self._clock = clock
        self._survey = survey
        self._announced: Announcement | None = None
        self._announced_s = NEVER_S
        self._refused_s = NEVER_S

    def run(self, closing: threading.Event) -> None:
        """Look again and again, until `closing`."""
        while not closing.wait(LOOK_S):
            self.look()

    def look(self) -> None:
        """Announce what this worker can do, if that is due."""
        if self._clock.monotonic() - self._refused_s < REFUSED_S:
            return
        try:
            found = self._survey()
            if found != self._announced or self._is_due():
                self._announce(found)
            self._refused_s = NEVER_S
        except (DarkroomError, OSError) as error:
            self._refused_s = self._clock.monotonic()
            logger().warning("worker.unannounced", detail=str(error))

    def _is_due(self) -> bool:
        return self._clock.monotonic() - self._announced_s >= AGAIN_S

    def _announce(self, found: Announcement) -> None:
        is_new = found != self._announced
        is_there = False
        for info in list(self._store.list(self._bucket, keys.WORKERS)):
            if info.key == found.place():
                is_there = info.age_s < RENEW_S
            elif _is_outdated(info, found, is_new):
                self._store.delete(info.bucket, info.key)
        if not is_there:
            document = found.to_bytes()
            place = found.place()
            self._store.put(self._bucket, place, document, "application/json")
        self._announced = found
        self._announced_s = self._clock.monotonic()
        if is_new:
            logger().info("worker.announced", kind=found.kind)


def _is_outdated(info: ObjectInfo, found: Announcement, is_new: bool) -> bool:
    """Whether another announcement goes: an earlier one of this host, or that of a
    worker that no longer renews it.
    """
    if is_new and keys.host_of_worker(info.key) == found.host:
        return True
    return info.age_s > STALE.total_seconds()
