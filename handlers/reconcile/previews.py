"""A late stage: previews that nobody looks at any more are deleted, with everything
that was made for them.

A preview is worth its place while somebody compares it. Whoever wants it again asks for
it again, and it is the same.
"""

from __future__ import annotations

from functools import partial

from handlers.reconcile.pass_context import Work
from shared.errors import NotFound
from shared.s3.store import ObjectInfo
from shared.uploads import keys

PREFIX = keys.receipt("preview/").removesuffix(".json")
MOST = 10_000
"""Deleted in one pass."""


def delete_expired(work: Work) -> None:
    """Delete previews asked for longer than `preview_expires_s` ago, by the store's
    clock.

    The receipt goes last: what broke off is found again by the next pass.
    """
    settings = work.ctx.settings
    if settings.preview_expires_s == 0:
        return
    for info in work.ctx.store.list(settings.bucket_results, PREFIX):
        if info.age_s > settings.preview_expires_s:
            gone = work.dry_run or work.apart.step(
                "previews", info.key, partial(_delete, work, info)
            )
            work.report.previews_expired += bool(gone)
            if work.report.previews_expired == MOST:
                break


def _delete(work: Work, listed: ObjectInfo) -> bool:
    store, settings = work.ctx.store, work.ctx.settings
    try:
        if store.head(listed.bucket, listed.key).age_s <= settings.preview_expires_s:
            return False  # asked for anew since it was listed
    except NotFound:
        return False
    upload = listed.key.removeprefix("receipts/").removesuffix(".json")
    task_id = upload.rpartition("/")[2]
    work.ctx.uploads.delete_results(task_id)
    work.ctx.uploads.delete_reason(upload)
    store.delete(listed.bucket, listed.key)
    return True
