"""A photo taken back by its owner: cancelled before it was restored, or erased at any
time.

Both end every upload of the task with a reason, which worker and sweep respect. An
erasure also removes the original, the result, the previews, the copies in quarantine,
and the file's name and parameters from receipt and audit log. What stays are ids, the
pseudonym, sizes, times and the content's checksum: enough to count, not enough to see.
"""

from __future__ import annotations

from collections.abc import Sequence

from handlers import erasure
from handlers.context import Context
from handlers.erasure import erase
from handlers.http.problems import Problem
from handlers.intake.original import delete_original
from shared.errors import Code
from shared.s3.store import ObjectInfo
from shared.uploads.documents import Receipt

__all__ = ["cancel", "erase", "erase_rejected"]


def cancel(
    ctx: Context,
    task_id: str,
    uploads: Sequence[Receipt],
) -> None:
    """End the uploads that have not ended. Raises `Problem` 409 where the task ended
    otherwise.
    """
    if ctx.uploads.readable_record(task_id):
        detail = "the photo is restored already; ?erase=true takes everything away"
        raise Problem(409, detail, "already_ended")
    waiting = []
    was_withdrawn = False
    for receipt in uploads:
        outcome = ctx.uploads.readable_outcome(receipt)
        if outcome is None:
            waiting.append(receipt)
        elif outcome.is_withdrawn:
            was_withdrawn = True
    if not waiting and not was_withdrawn:
        detail = "the photo ended already, without a result; ?erase=true takes it away"
        raise Problem(409, detail, "already_ended")
    for receipt in waiting:
        erasure.end(ctx, receipt, Code.CANCELLED)


def erase_rejected(
    ctx: Context,
    receipt: Receipt,
    original: ObjectInfo | None,
) -> None:
    """Erase an upload that never became a task.

    `original` is None if it was deleted when the upload was rejected; otherwise it goes
    last, because nothing else leads to the upload.
    """
    blanked = erasure.blank(receipt)
    erasure.end(ctx, blanked, Code.ERASED)
    ctx.uploads.write_receipt(blanked)
    erasure.take_away_upload(ctx, blanked)
    if original:
        delete_original(ctx, blanked, original.key)
