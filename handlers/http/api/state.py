"""Where a photo stands, by the bucket alone: its receipt, its claims and its end."""

from __future__ import annotations

from dataclasses import dataclass

from handlers.context import Context
from shared.uploads import claims
from shared.uploads.documents import Fault, Receipt
from shared.uploads.messages import Status

ENDED = frozenset({"success", "failed", "rejected", "duplicate"})


@dataclass(frozen=True)
class State:
    """`attempt`, from 1, and `progress`, from 0 to 1, while the photo is worked on."""

    status: Status
    fault: Fault | None = None
    attempt: int = 0
    progress: float = 0.0

    @property
    def ended(self) -> bool:
        return self.status in ENDED


def of_receipt(ctx: Context, receipt: Receipt) -> State:
    """The state of one upload. Raises `StorageUnavailable`."""
    if outcome := ctx.uploads.readable_outcome(receipt):
        status, record = outcome.published_status, outcome.record
        if record:
            return State(status, attempt=record.attempts, progress=1.0)
        return State(status, outcome.fault)
    task_id = receipt.task_id or ""
    claim = claims.latest(ctx.store, ctx.settings.bucket_results, task_id)
    if claim is None:
        return State("queued")
    is_begun = claim.in_progress
    progress = claim.note.progress
    return State("processing" if is_begun else "queued", None, claim.number, progress)
