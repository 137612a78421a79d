"""A photo taken back by its owner: cancelled before it was restored, or erased, at any
time.

Both end every upload of the task with a reason, which worker and sweep respect. An
erasure also takes away the original, the result, the previews, the copies in
quarantine, and the file's name and parameters from receipt and log. What stays are ids,
the pseudonym, sizes, times and the content's checksum: enough to count, not enough to
see.
"""

from __future__ import annotations

from collections.abc import Sequence

from handlers import erasure
from handlers.context import Context
from handlers.erasure import erase
from handlers.http.problems import Problem
from shared.errors import Code
from shared.s3.store import ObjectInfo
from shared.uploads.documents import Receipt

__all__ = ["cancel", "erase", "erase_rejected"]


def cancel(ctx: Context, task_id: str, uploads: Sequence[Receipt]) -> None:
    """End what has no end yet. Raises `Problem` 409 where the task ended otherwise."""
    if ctx.uploads.readable_record(task_id):
        raise Problem(
            409,
            "the photo is restored already; ?erase=true takes everything away",
            "already_ended",
        )
    outcomes = [ctx.uploads.readable_outcome(receipt) for receipt in uploads]
    pairs = zip(uploads, outcomes, strict=True)
    waiting = [receipt for receipt, outcome in pairs if outcome is None]
    was_withdrawn = any(outcome and outcome.is_withdrawn for outcome in outcomes)
    if not waiting and not was_withdrawn:
        raise Problem(
            409,
            "the photo ended already, without a result; ?erase=true takes it away",
            "already_ended",
        )
    for receipt in waiting:
        erasure.end(ctx, receipt, Code.CANCELLED)


def erase_rejected(ctx: Context, receipt: Receipt, original: ObjectInfo | None) -> None:
    """The same for an upload that never became a task, which only `original` leads to:
    so it goes last.

    None: it was taken away when it was refused.
    """
    gone = erasure.blank(receipt)
    erasure.end(ctx, gone, Code.ERASED)
    ctx.uploads.write_receipt(gone)
    erasure.take_away_upload(ctx, gone)
    if original:
        erasure.delete_original(ctx, gone, original.key)
