"""The state of an upload, by the bucket alone: its receipt, its claims, its outcome."""

from __future__ import annotations

from dataclasses import dataclass

from handlers.context import Context
from handlers.http.problems import Problem
from shared.errors import NotFound
from shared.s3.objects import ObjectInfo
from shared.uploads import claims
from shared.uploads.claims import DraftNote
from shared.uploads.documents import Fault, Receipt
from shared.uploads.messages import Status
from shared.uploads.ref import upload_id_of

ENDED = frozenset({"success", "failed", "rejected", "duplicate"})


@dataclass(frozen=True)
class State:
    """`attempt` counts from 1 and `progress` goes from 0 to 1 while the photo is worked
    on. `draft`: what can be seen of it meanwhile.
    """

    status: Status
    fault: Fault | None = None
    attempt: int = 0
    progress: float = 0.0
    draft: DraftNote | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED


def receipt_of(ctx: Context, info: ObjectInfo) -> Receipt:
    """The receipt of an uploaded object. Raises `Problem` 409 before there is one."""
    try:
        return ctx.uploads.receipt(upload_id_of(info))
    except NotFound:
        detail = "the photo was not looked at yet; ask again in a moment"
        raise Problem(409, detail, "too_early") from None


def of_receipt(ctx: Context, receipt: Receipt) -> State:
    """The state of one upload. Raises `StorageUnavailable`."""
    outcome = ctx.uploads.readable_outcome(receipt)
    if outcome is None:
        return of_claim(ctx, receipt.task_id or "")
    status = outcome.published_status
    record = outcome.record
    if record:
        return State(status, attempt=record.attempts, progress=1.0)
    return State(status, outcome.fault)


def of_claim(ctx: Context, task_id: str) -> State:
    """The state of an upload that has not ended. Raises `StorageUnavailable`."""
    bucket = ctx.settings.bucket_results
    claim = claims.latest(ctx.store, bucket, task_id)
    if claim is None:
        return State("queued")
    return State(
        status="processing" if claim.in_progress else "queued",
        attempt=claim.number,
        progress=claim.note.progress,
        draft=claim.note.draft if claim.in_progress else None,
    )
