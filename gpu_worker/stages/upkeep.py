"""What is done for photos beside the work on them: their claims say that the worker lives and how far it is, and it
hears when an owner takes a photo back.
"""

from __future__ import annotations

from collections.abc import Iterable

from gpu_worker.stages.context import Context
from gpu_worker.stages.job import Job
from shared import keys
from shared.claims import RENEWALS
from shared.documents import Reason, Receipt
from shared.errors import Code, PermanentError

EVERY_S = 1.0
"""Progress is told at most this often."""


def reason_of(ctx: Context, receipt: Receipt) -> Reason | None:
    """Why this upload (and not an earlier one of the same bytes at its key) ended without a result, if it did."""
    key = keys.reason(receipt.upload_id)
    try:
        reason = Reason.from_bytes(ctx.store.read(ctx.settings.bucket_quarantine, key), key)
    except PermanentError:  # as good as always there is none
        return None
    return reason if reason.source.upload_time == receipt.source.upload_time else None


def is_withdrawn(ctx: Context, receipt: Receipt) -> bool:
    """Whether the owner cancelled or erased this upload."""
    reason = reason_of(ctx, receipt)
    return reason is not None and reason.error_code in (Code.CANCELLED, Code.ERASED)


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
