"""Stage 3: every upload must have a receipt that is not older than itself.

Finds: uploads older than a lease without a receipt, or younger than it, and uploads
whose receipt is damaged. Does: gives them to `on_upload`, as their notification would
have. Safe to repeat: `on_upload` finds what was decided before.
"""

from __future__ import annotations

from functools import partial

from handlers.context import Context
from handlers.intake.decision import Decision
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from handlers.reconcile import damage
from handlers.reconcile.pass_context import PassContext
from handlers.reconcile.receipts import ReceiptIndex
from handlers.reconcile.tables import packed, text
from shared.runtime.failpoints import passing
from shared.s3.store import ObjectInfo
from shared.uploads import keys
from shared.uploads.ref import upload_id_of


def look_at_uploads(sweep: PassContext, receipts: ReceiptIndex) -> None:
    """List all uploads, and decide on those that lack a receipt."""
    damaged = set(receipts.damaged)
    settings = sweep.settings
    for info in sweep.store.list_versions(settings.bucket_uploads):
        is_old_enough = sweep.since is None or info.last_modified >= sweep.since
        if info.key.endswith("/") or not is_old_enough:
            continue
        sweep.report.uploads += 1
        upload_id = upload_id_of(info)
        upload = packed(upload_id)
        if upload in damaged:
            damaged.discard(upload)
            sweep.report.repaired += _is_repaired(sweep, info, upload_id)
        elif info.age_s > settings.lease_s and _lacks_receipt(receipts, upload, info):
            sweep.report.notifications_missed += _is_decided(sweep, info, upload_id)
    if not sweep.dry_run:
        _repair_without_upload(sweep, damaged)


def decide(ctx: Context, info: ObjectInfo) -> Decision:
    """Give an upload to `on_upload`, as its notification would have."""
    passing("sweep.before_publish")
    event = UploadEvent(
        bucket=info.bucket,
        key=info.key,
        kind="create",
        version=info.version,
        etag=info.etag,
        size=info.bytes,
        event_time=info.last_modified,
    )
    return on_upload(event, ctx)


def _lacks_receipt(receipts: ReceiptIndex, upload: bytes, info: ObjectInfo) -> bool:
    decided = receipts.times.when(upload)
    # An upload younger than its receipt: the same bytes were put again at the same key,
    # which is another upload.
    return decided is None or decided < info.last_modified


def _is_repaired(sweep: PassContext, info: ObjectInfo, upload_id: str) -> bool:
    """Decide anew on an upload whose receipt is damaged."""
    if not sweep.dry_run:
        keep = partial(damage.keep, sweep.ctx, keys.receipt(upload_id))
        sweep.isolation.run("damage", upload_id, keep)
    return _is_decided(sweep, info, upload_id)


def _is_decided(sweep: PassContext, info: ObjectInfo, upload_id: str) -> bool:
    """False: it met an error, and the next pass finds it again."""
    if sweep.dry_run:
        return True
    decision = sweep.isolation.run(
        "uploads", upload_id, partial(decide, sweep.ctx, info)
    )
    return decision is not None


def _repair_without_upload(sweep: PassContext, damaged: set[bytes]) -> None:
    """Repair receipts whose upload is gone, from the records."""
    for upload in damaged:
        upload_id = text(upload)
        repair = partial(damage.repair_receipt, sweep.ctx, upload_id)
        repaired = sweep.isolation.run("damage", upload_id, repair)
        sweep.report.repaired += bool(repaired)
