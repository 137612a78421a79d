"""Where a photo stands, by the bucket alone: its receipt, its claims and its end."""

from __future__ import annotations

from dataclasses import dataclass

from handlers.context import Context
from handlers.retelling import read_record, reason_of
from shared.errors import Code, PermanentError
from shared.uploads import claims
from shared.uploads.cancellation import ERASED
from shared.uploads.documents import Fault, Receipt, Record, Superseded
from shared.uploads.messages import Status

SUPERSEDED_FAULT = Fault(
    error_code=Code.SOURCE_CHANGED,
    error_detail="the upload was put again, with other wishes, before it was restored",
)
ERASED_FAULT = Fault(error_code=Code.ERASED, error_detail="its owner had it erased")
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
    if receipt.decision != "queued" or receipt.task_id is None:
        return State(receipt.decision, receipt.fault)
    if record := record_of(ctx, receipt.task_id):
        if record.is_of(receipt):
            return State("success", None, record.attempts, 1.0)
        # it failed before another upload of the photo was restored
        if fault := fault_of(ctx, receipt):
            return State("failed", fault)
        return State("duplicate", None, record.attempts, 1.0)
    if fault := fault_of(ctx, receipt):
        return State("failed", fault)
    claim = claims.latest(ctx.store, ctx.settings.bucket_results, receipt.task_id)
    if claim is None:
        return State("queued")
    status: Status = "processing" if claim.in_progress else "queued"
    return State(status, None, claim.number, claim.note.progress)


def record_of(ctx: Context, task_id: str) -> Record | None:
    """A damaged record proves nothing; the sweep repairs it."""
    try:
        return read_record(ctx, task_id)
    except PermanentError:
        return None


def fault_of(ctx: Context, receipt: Receipt) -> Fault | None:
    """How an upload ended without a result, if it did; the reason of an earlier upload
    at its key is not its own.
    """
    try:
        reason = reason_of(ctx, receipt)
    except PermanentError:
        reason = None
    if reason:
        return Fault(error_code=reason.error_code, error_detail=reason.error_detail)
    if not isinstance(receipt, Superseded):
        return None
    return ERASED_FAULT if receipt.source.key == ERASED else SUPERSEDED_FAULT
