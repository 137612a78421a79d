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

EVERY_S = 1.0
"""Progress is told at most this often."""


def reason_of(ctx: Context, receipt: Receipt) -> Reason | None:
    """Why this upload ended without a result, if it did."""
    return withdrawal.reason_of(ctx.store, ctx.settings, receipt.upload_id, receipt.source.upload_time)


def is_withdrawn(ctx: Context, receipt: Receipt) -> bool:
    """Whether the owner cancelled or erased this upload."""
    reason = reason_of(ctx, receipt)
    return reason is not None and reason.error_code in withdrawal.WITHDRAWN


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
                    self._renew(job)

    def _renew(self, job: Job) -> None:
        now_s = self._ctx.clock.monotonic()
        due = now_s - job.renewed_s >= self._ctx.settings.lease_s / RENEWALS
        if due or job.progress != job.told:
            job.renewed_s, job.told = now_s, job.progress
            self._ctx.claims.renew(job.claim, job.told)
        if due:
            job.withdrawn = is_withdrawn(self._ctx, job.receipt)
