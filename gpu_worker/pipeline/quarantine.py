"""A failed photo's reason, and the copy of the photo beside it."""

from __future__ import annotations

from gpu_worker.pipeline.context import Context
from shared.errors import Code
from shared.uploads import keys
from shared.uploads.documents import Reason
from shared.uploads.outcome import WITHDRAWN
from shared.uploads.quarantine import keep_copy

NOT_THERE = frozenset(
    {Code.SOURCE_CHANGED, Code.SOURCE_MISSING, Code.SOURCE_UNREADABLE}
)
"""Errors after which no copy can be made: what lies at the photo's key, if anything
does, is another photo, or nothing that the store could copy.
"""


def quarantine(ctx: Context, reason: Reason, with_copy: bool) -> Reason | None:
    """Write `reason`; the reason that holds, which may be that of an earlier attempt.
    None: the owner took the photo back meanwhile.

    A reason of the owner is never overwritten. The owner's reason is written before the
    copies are looked for, and ours after the copy is made: in either order one side
    sees the other, and the copy goes.
    """
    if with_copy and reason.error_code not in NOT_THERE:
        keep_copy(ctx.store, ctx.settings, reason.upload_id, reason.source)
    if ctx.uploads.write_new_reason(reason):
        return reason
    earlier = ctx.uploads.reason_of(reason.ref)
    if earlier and earlier.error_code in WITHDRAWN:
        _delete_copy(ctx, reason)
        return None
    if earlier and earlier.retries == reason.retries:
        return earlier
    # What lies there is of another upload, of an earlier try, or damaged.
    ctx.uploads.write_reason(reason)
    return reason


def _delete_copy(ctx: Context, reason: Reason) -> None:
    source = reason.source
    copy = keys.quarantined(reason.upload_id, source.key, source.filename)
    ctx.store.delete(ctx.settings.bucket_quarantine, copy)
