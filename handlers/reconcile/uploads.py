"""Third stage: every upload must have a receipt, not older than itself."""

from __future__ import annotations

from functools import partial

from handlers.context import Context
from handlers.intake.decision import Decision
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from handlers.reconcile import damage
from handlers.reconcile.pass_context import Work
from handlers.reconcile.receipts import Receipts
from handlers.reconcile.tables import packed, text
from shared.runtime.failpoints import passing
from shared.s3.store import ObjectInfo
from shared.uploads import keys
from shared.uploads.ref import upload_id_of


def look_at_uploads(work: Work, receipts: Receipts) -> None:
    """Give to `on_upload` what it never heard of, and what its receipt can no longer
    tell.
    """
    damaged = set(receipts.damaged)
    for info in work.ctx.store.list_versions(work.ctx.settings.bucket_uploads):
        if info.key.endswith("/") or (work.since and info.last_modified < work.since):
            continue
        work.report.uploads += 1
        upload = packed(upload_id_of(info))
        if upload in damaged:
            damaged.discard(upload)
            if not work.dry_run:
                work.apart.step(
                    "damage",
                    text(upload),
                    partial(damage.keep, work.ctx, keys.receipt(text(upload))),
                )
            work.report.repaired += _is_decided(work, info, text(upload))
        elif info.age_s > work.ctx.settings.lease_s:
            decided = receipts.times.when(upload)
            # Younger than its receipt: the same bytes were put again at the same key,
            # which is another upload.
            if decided is None or decided < info.last_modified:
                work.report.notifications_missed += _is_decided(
                    work, info, text(upload)
                )
    for ident in map(text, () if work.dry_run else damaged):
        repaired = work.apart.step(
            "damage", ident, partial(damage.repair_receipt, work.ctx, ident)
        )
        work.report.repaired += bool(repaired)


def _is_decided(work: Work, info: ObjectInfo, ident: str) -> bool:
    """False: it met a fault, and the next pass finds it again."""
    if work.dry_run:
        return True
    return (
        work.apart.step("uploads", ident, partial(decide, work.ctx, info)) is not None
    )


def decide(ctx: Context, info: ObjectInfo) -> Decision:
    """Give it to `on_upload`, as its notification would have."""
    passing("sweep.before_publish")
    event = UploadEvent(
        info.bucket,
        info.key,
        "create",
        info.version,
        info.etag,
        info.bytes,
        None,
        info.last_modified,
    )
    return on_upload(event, ctx)
