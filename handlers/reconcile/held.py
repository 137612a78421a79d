"""A late stage: uploads that nobody started are erased.

Finds: marks of held uploads that are older than `held_expires_s`. Does: erases the
upload, with the reason `expired`, if it has no run; otherwise deletes the mark, and the
photo stays like any other. Safe to repeat: the mark is deleted last.
"""

from __future__ import annotations

from functools import partial

from handlers import erasure
from handlers.reconcile.pass_context import PassContext
from shared.errors import Code, NotFound
from shared.s3.store import ObjectInfo
from shared.uploads import keys
from shared.uploads.outcome import ERASED_KEY

MOST = 10_000
"""Most of them erased in one pass."""


def erase_expired(sweep: PassContext) -> None:
    """Erase held uploads that expired; their age is by the store's clock.

    They are erased a lease later than the API takes a start of them, so that none is
    erased while it is started.
    """
    settings = sweep.settings
    if settings.held_expires_s == 0:
        return
    oldest_s = settings.held_expires_s + settings.lease_s
    for info in sweep.store.list(settings.bucket_results, keys.held()):
        if info.age_s <= oldest_s:
            continue
        sweep.report.held_expired += _is_erased(sweep, info)
        if sweep.report.held_expired == MOST:
            break


def _is_erased(sweep: PassContext, mark: ObjectInfo) -> bool:
    if sweep.dry_run:
        return True
    upload_id = keys.held_upload(mark.key)
    erase = partial(_erase, sweep, upload_id)
    return bool(sweep.isolation.run("held", upload_id, erase))


def _erase(sweep: PassContext, upload_id: str) -> bool:
    uploads = sweep.ctx.uploads
    try:
        receipt = uploads.receipt(upload_id)
    except NotFound:
        # Its upload was deleted before it was looked at, or comes again.
        uploads.release_hold(upload_id)
        return False
    is_erased = receipt.source.key == ERASED_KEY
    if receipt.decision != "held" or is_erased or uploads.has_runs(upload_id):
        uploads.release_hold(upload_id)
        return False
    erasure.erase_held(sweep.ctx, receipt, Code.EXPIRED)
    return True
