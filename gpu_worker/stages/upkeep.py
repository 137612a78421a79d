"""What is done for photos beside the work on them: their claims say that the worker lives and how far it is, and it
hears when an owner takes a photo back.
"""

from __future__ import annotations

from collections.abc import Iterable

from gpu_worker.stages.context import Context
from gpu_worker.stages.job import Job
from shared import withdrawal
from shared.claims import RENEWALS
from shared.documents import Reason, Receipt
from shared.errors import ObjectUnreadable, PermanentError
from shared.telemetry import logger

EVERY_S = 1.0
"""Progress is told at most this often."""


def reason_of(ctx: Context, upload: Receipt | Reason) -> Reason | None:
    """Why this upload ended without a result, if it did. What the store does not give is as good as damaged."""
    try:
        return withdrawal.reason_of(ctx.store, ctx.settings, upload.upload_id, upload.source.upload_time)
    except ObjectUnreadable:
        return None


def is_withdrawn(ctx: Context, upload: Receipt | Reason) -> bool:
    """Whether the owner cancelled or erased this upload."""
    reason = reason_of(ctx, upload)
    if reason is not None and reason.error_code in withdrawal.WITHDRAWN:
        return True
    try:
        return withdrawal.was_erased(ctx.store, ctx.settings, upload)
    except ObjectUnreadable:
        return False


class Upkeep:
    """Called about every `EVERY_S`, by one thread."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    def look_after(self, jobs: Iterable[Job]) -> None:
        """Renew claims that are due or whose progress changed. Raises `StorageUnavailable` only while leaving."""
        for job in jobs:
            # Never after the job's end: a claim that was given up must not come back.
            with job.lock:
                if not job.ended:
                    self._try_to_renew(job)

    def _try_to_renew(self, job: Job) -> None:
        try:
            self._renew(job)
        except PermanentError as error:  # the others' claims must not be late for it
            logger().error("claim.refused", task_id=job.task.task_id, detail=error.detail)

    def _renew(self, job: Job) -> None:
        now_s = self._ctx.clock.monotonic()
        due = now_s - job.renewed_s >= self._ctx.settings.lease_s / RENEWALS
        if due or job.progress != job.told:
            job.renewed_s, job.told = now_s, job.progress
            self._ctx.claims.renew(job.claim, job.told)
        if due:
            job.withdrawn = is_withdrawn(self._ctx, job.receipt)
