"""What is done for photos beside the work on them: their claims say that the worker
lives and how far it is, and it hears when an owner takes a photo back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from gpu_worker.pipeline.context import Context
from gpu_worker.pipeline.job import Job
from shared.errors import ObjectRefused, PermanentError, StorageUnavailable
from shared.runtime.telemetry import logger
from shared.uploads.claims import REDELIVERED_LEASE_FRACTION, RENEWALS_PER_LEASE

EVERY_S = 1.0
"""Progress is told at most this often."""


class Upkeep:
    """Called about every `EVERY_S`, by one thread."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    def look_after(self, jobs: Iterable[Job]) -> None:
        """Renew claims that are due or whose progress changed.

        Each on a thread of its own: the store may be silent about one of them, and the
        others must not be late for it.
        """
        threads = [
            self._started(job)
            for job in jobs
            if self._is_due(job) or self._has_news(job)
        ]
        for thread in threads:
            thread.join(EVERY_S)

    def _is_due(self, job: Job) -> bool:
        return (
            self._ctx.clock.monotonic() - job.renewed_s
            >= self._ctx.settings.lease_s / RENEWALS_PER_LEASE
        )

    def _has_news(self, job: Job) -> bool:
        return job.progress != job.told

    def _started(self, job: Job) -> threading.Thread:
        thread = threading.Thread(
            target=self._try_to_renew, args=(job,), name="renew", daemon=True
        )
        thread.start()
        return thread

    def _try_to_renew(self, job: Job) -> None:
        # A look before this one may still wait for the store, or a stage may be about
        # to end the job.
        if not job.lock.acquire(blocking=False):
            return
        try:
            # Never after the job's end: a claim that was given up must not come back.
            if (
                not job.ended
                and self._ctx.clock.monotonic() - job.refused_s
                >= self._ctx.settings.lease_s * REDELIVERED_LEASE_FRACTION
            ):
                self._renew(job)
        except (PermanentError, ObjectRefused) as error:
            job.refused_s = self._ctx.clock.monotonic()
            logger().error(
                "claim.refused", task_id=job.task.task_id, detail=error.detail
            )
        except StorageUnavailable:
            pass  # only while leaving
        finally:
            job.lock.release()

    def _renew(self, job: Job) -> None:
        due = self._is_due(job)
        if due or self._has_news(job):
            job.renewed_s, job.told = self._ctx.clock.monotonic(), job.progress
            self._ctx.claims.renew(job.claim, job.told)
        if due:
            job.withdrawn = self._ctx.uploads.is_withdrawn(job.receipt)
