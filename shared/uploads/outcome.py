"""How an upload ended: the one precedence of receipt, record and reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shared.errors import Code
from shared.uploads.documents import Fault, Reason, Receipt, Record, Superseded
from shared.uploads.messages import Status

EndStatus = Literal["success", "duplicate", "rejected", "failed", "cancelled", "erased"]

WITHDRAWN: dict[str, Literal["cancelled", "erased"]] = {
    Code.CANCELLED: "cancelled",
    Code.ERASED: "erased",
}
"""Error codes of an upload that its owner took back, and the status that each means."""

ERASED_KEY = "erased"
"""Stands for the key of an original that was erased."""

ERASED_FAULT = Fault(
    error_code=Code.ERASED,
    error_detail="its owner had it erased",
)
SUPERSEDED_FAULT = Fault(
    error_code=Code.SOURCE_CHANGED,
    error_detail="the upload was put again, with other wishes, before it was restored",
)


@dataclass(frozen=True)
class Outcome:
    """How an upload ended.

    `record`: what was made of the photo (`success`, `duplicate`). `reason`: the document
    that ends it otherwise, where there is one; `fault`: its code and sentence.
    """

    status: EndStatus
    at: datetime
    record: Record | None = None
    reason: Reason | None = None
    fault: Fault | None = None

    @property
    def is_final(self) -> bool:
        """Whether it is the same whatever record there is."""
        return self.status in ("erased", "rejected")

    @property
    def is_withdrawn(self) -> bool:
        """Whether the owner cancelled or erased the upload."""
        return self.status in WITHDRAWN.values()

    @property
    def published_status(self) -> Status:
        """The status in the audit log, the API and webhooks, whose statuses are fewer.

        What an owner took back is `failed` there, or was `rejected`, and has its code.
        """
        if self.status == "cancelled" or self.status == "erased":
            return self.reason.status if self.reason else "failed"
        return self.status


def outcome_of(
    receipt: Receipt, record: Record | None, reason: Reason | None
) -> Outcome | None:
    """The outcome of the upload of `receipt`; None while it has not ended.

    `record` is that of its task, `reason` the one at its place; both may be of another
    upload. The first that holds decides:

    1. its owner had it erased, whatever is still there of it;
    2. the handler rejected it;
    3. its own record: it was restored, even if an attempt had been given up before;
    4. its own reason: it failed or was cancelled, even if the same photo was restored
       later for another upload;
    5. another upload took its place while it waited;
    6. the record of another upload of the same task: it shares that result.

    A duplicate whose result was taken back has not ended: the sweep queues it.
    """
    own_reason = reason if reason and _ends(reason, receipt) else None
    superseded = isinstance(receipt, Superseded)
    if own_reason and own_reason.error_code == Code.ERASED:
        return _of_reason(own_reason)
    if superseded and receipt.source.key == ERASED_KEY:
        return Outcome("erased", receipt.decided_at, fault=ERASED_FAULT)
    if receipt.decision == "rejected":
        return Outcome("rejected", receipt.decided_at, fault=receipt.fault)
    if record and record.ref == receipt.ref:
        return Outcome("success", record.finished_at, record)
    if own_reason:
        return _of_reason(own_reason)
    if superseded and (receipt.decision == "queued" or record is None):
        return Outcome("failed", receipt.decided_at, fault=SUPERSEDED_FAULT)
    return Outcome("duplicate", record.finished_at, record) if record else None


def _ends(reason: Reason, receipt: Receipt) -> bool:
    """Whether the reason is about this very upload, and still holds.

    A failure does not after a person gave the photo a fresh start. What its owner took
    back stays taken back.
    """
    holds = reason.error_code in WITHDRAWN or reason.retries >= receipt.retries
    return reason.ref == receipt.ref and holds


def _of_reason(reason: Reason) -> Outcome:
    status = WITHDRAWN.get(reason.error_code, reason.status)
    fault = Fault(error_code=reason.error_code, error_detail=reason.error_detail)
    return Outcome(status, reason.at, reason=reason, fault=fault)
