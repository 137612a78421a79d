"""A late stage: old previews are deleted, with everything that was made for them.

Finds: receipts of previews that were requested longer than `preview_expires_s` ago.
Does: deletes result, record, reason and, last, the receipt. Safe to repeat: what broke
off still has its receipt, and is found again. A preview that is requested anew is the
same as before.
"""

from __future__ import annotations

from functools import partial

from handlers.reconcile.pass_context import PassContext
from shared.errors import NotFound
from shared.s3.store import ObjectInfo
from shared.uploads import keys

PREFIX = keys.receipt("preview/").removesuffix(".json")
MOST = 10_000
"""Most of them deleted in one pass."""


def delete_expired(sweep: PassContext) -> None:
    """Delete expired previews; their age is by the store's clock."""
    settings = sweep.settings
    if settings.preview_expires_s == 0:
        return
    for info in sweep.store.list(settings.bucket_results, PREFIX):
        if info.age_s <= settings.preview_expires_s:
            continue
        sweep.report.previews_expired += _is_deleted(sweep, info)
        if sweep.report.previews_expired == MOST:
            break


def _is_deleted(sweep: PassContext, receipt: ObjectInfo) -> bool:
    if sweep.dry_run:
        return True
    delete = partial(_delete, sweep, receipt)
    return bool(sweep.isolation.run("previews", receipt.key, delete))


def _delete(sweep: PassContext, receipt: ObjectInfo) -> bool:
    ctx = sweep.ctx
    try:
        current = ctx.store.head(receipt.bucket, receipt.key)
    except NotFound:
        return False
    if current.age_s <= ctx.settings.preview_expires_s:
        return False  # requested anew since it was listed
    upload_id = receipt.key.removeprefix("receipts/").removesuffix(".json")
    task_id = upload_id.rpartition("/")[2]
    ctx.uploads.delete_results(task_id)
    ctx.uploads.delete_reason(upload_id)
    ctx.store.delete(receipt.bucket, receipt.key)
    return True
