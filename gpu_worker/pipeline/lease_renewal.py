"""What is done for the photos in flight beside the work on them: their leases are
renewed, and cancellations are noticed.
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
"""Progress is written at most this often: of most small photos never."""


class LeaseRenewer:
    """Called about every `EVERY_S`, by one thread."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    def renew(self, jobs: Iterable[Job]) -> None:
        """Renew the leases that are due, and those of jobs that made progress.

        Each is renewed in a thread of its own: the store may be silent about one of
        them, and the others must not be late for it.
        """
        threads = [self._start(job) for job in jobs if self._wants_renewal(job)]
        for thread in threads:
            thread.join(EVERY_S)

    def _start(self, job: Job) -> threading.Thread:
        thread = threading.Thread(
            target=self._try_to_renew, args=(job,), name="renew", daemon=True
        )
        thread.start()
        return thread

    def _try_to_renew(self, job: Job) -> None:
        # An earlier renewal may still wait for the store, or a stage may be about to
        # end the job.
        if not job.lock.acquire(blocking=False):
            return
        try:
            # Never after the job's end: a claim that was given up must not come back.
            if not job.ended and not self._was_refused_lately(job):
                self._renew(job)
        except (PermanentError, ObjectRefused) as error:
            job.refused_s = self._now_s()
            logger().error("claim.refused", task_id=job.task_id, detail=error.detail)
        except StorageUnavailable:
            pass  # raised only while the worker leaves
        finally:
            job.lock.release()

    def _renew(self, job: Job) -> None:
        is_due = self._is_due(job)
        if not self._wants_renewal(job):
            return
        job.renewed_s = self._now_s()
        job.written_progress = job.progress
        self._ctx.claims.renew(job.claim, job.written_progress, job.draft)
        if is_due:
            job.withdrawn = self._ctx.uploads.is_withdrawn(job.receipt)

    def _wants_renewal(self, job: Job) -> bool:
        has_moved = job.progress != job.written_progress
        return self._is_due(job) or (has_moved and self._age_s(job) >= EVERY_S)

    def _is_due(self, job: Job) -> bool:
        return self._age_s(job) >= self._ctx.settings.lease_s / RENEWALS_PER_LEASE

    def _age_s(self, job: Job) -> float:
        """Seconds since the lease began, or was renewed."""
        return self._now_s() - job.renewed_s

    def _was_refused_lately(self, job: Job) -> bool:
        pause_s = self._ctx.settings.lease_s * REDELIVERED_LEASE_FRACTION
        return self._now_s() - job.refused_s < pause_s

    def _now_s(self) -> float:
        return self._ctx.clock.monotonic()
