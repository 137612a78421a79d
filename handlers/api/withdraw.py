"""A photo taken back by its owner: cancelled before it was restored, or erased, at any time.

Both end every upload of the task with a reason, which worker and sweep respect. An erasure also takes away the
original, the result, the previews, the copies in quarantine, and the file's name and parameters from receipt and log.
What stays are ids, the pseudonym, sizes, times and the content's checksum: enough to count, not enough to see.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from handlers import erasure
from handlers.api import state
from handlers.context import Context
from handlers.problems import Problem
from handlers.retelling import write_again
from shared import facts, keys
from shared.documents import Reason, Receipt
from shared.errors import BrokerUnavailable, Code, NotFound
from shared.storage import ObjectInfo
from shared.telemetry import logger
from shared.withdrawal import WITHDRAWN

JSON = "application/json"
SENTENCES = {
    Code.CANCELLED: "its owner took it back before it was restored; upload it again to have it restored",
    Code.ERASED: "its owner had it erased; upload it again to have it restored",
}


def cancel(ctx: Context, task_id: str, uploads: Sequence[Receipt]) -> None:
    """End what has no end yet. Raises `Problem` 409 where the task ended otherwise."""
    if state.record_of(ctx, task_id):
        raise Problem(409, "the photo is restored already; ?erase=true takes everything away", "already_ended")
    ends = [(receipt, state.fault_of(ctx, receipt)) for receipt in uploads]
    waiting = [receipt for receipt, fault in ends if fault is None]
    if not waiting and not any(fault and fault.error_code in WITHDRAWN for _, fault in ends):
        raise Problem(409, "the photo ended already, without a result; ?erase=true takes it away", "already_ended")
    for receipt in waiting:
        _end(ctx, receipt, Code.CANCELLED)


def erase(ctx: Context, task_id: str, uploads: Sequence[Receipt]) -> None:
    """Take everything away. May be repeated: a crash on the way leaves nothing that a second call does not find."""
    for receipt in uploads:
        _end(ctx, erasure.blank(receipt), Code.ERASED)  # first: a worker that has it in hand cleans up behind itself
    erasure.take_away_results(ctx, task_id)
    for receipt in uploads:
        if receipt.preview is None:
            _erase_previews(ctx, receipt)
        erasure.take_away_upload(ctx, receipt)


def erase_rejected(ctx: Context, receipt: Receipt, original: ObjectInfo) -> None:
    """The same for an upload that never became a task, which only `original` leads to: so it goes last."""
    _end(ctx, erasure.blank(receipt), Code.ERASED)
    erasure.delete_copies(ctx, receipt.upload_id)
    write_again(ctx, erasure.blank(receipt))
    ctx.store.delete(original.bucket, original.key, receipt.source.version)


def _erase_previews(ctx: Context, photo: Receipt) -> None:
    """Looks ahead are pictures of it, too."""
    for info in list(ctx.store.list(ctx.settings.bucket_results, keys.receipt_prefix(photo.upload_id))):
        with suppress(NotFound):
            receipt = Receipt.from_bytes(ctx.store.read(info.bucket, info.key), info.key)
            erase(ctx, receipt.task_id or "", [receipt])


def _end(ctx: Context, receipt: Receipt, code: Code) -> None:
    reason = Reason(
        upload_id=receipt.upload_id, task_id=receipt.task_id, status="failed", error_code=code,
        error_detail=SENTENCES[code], source=receipt.source, at=ctx.clock.now(),
        retries=receipt.retries,
    )  # fmt: skip
    ctx.store.put(ctx.settings.bucket_quarantine, keys.reason(receipt.upload_id), reason.to_bytes(), JSON)
    ids = {"upload_id": receipt.upload_id, "task_id": receipt.task_id}
    try:
        facts.tell(ctx.publisher, facts.of_reason(reason), receipt)
    except BrokerUnavailable as error:  # the sweep tells it again
        logger().warning("upload.unpublished", **ids, detail=error.detail)
    logger().info("task.withdrawn", **ids, code=code)
