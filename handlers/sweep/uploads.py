"""Third stage: every upload must have a receipt, not older than itself."""

from __future__ import annotations

from handlers.notifications import UploadEvent
from handlers.on_upload import on_upload, upload_id
from handlers.sweep import damage
from handlers.sweep.receipts import Receipts
from handlers.sweep.tables import packed, text
from handlers.sweep.work import Work
from shared import keys
from shared.errors import StorageUnavailable
from shared.failpoints import passing
from shared.storage import ObjectInfo


def look_at_uploads(work: Work, receipts: Receipts) -> None:
    """Give to `on_upload` what it never heard of, and what its receipt can no longer tell."""
    damaged = set(receipts.damaged)
    for info in work.ctx.store.list_versions(work.ctx.settings.bucket_uploads):
        if info.key.endswith("/") or (work.since and info.last_modified < work.since):
            continue
        work.report.uploads += 1
        upload = packed(upload_id(info))
        if upload in damaged:
            damaged.discard(upload)
            _repair(work, info, text(upload))
        elif info.age_s > work.ctx.settings.lease_s:
            decided = receipts.times.when(upload)
            # Younger than its receipt: the same bytes were put again at the same key, which is another upload.
            if decided is None or decided < info.last_modified:
                work.report.missed += _decide(work, info)
    for upload in damaged:
        work.report.repaired += not work.dry_run and damage.repair_receipt(work.ctx, text(upload))


def _repair(work: Work, info: ObjectInfo, ident: str) -> None:
    if not work.dry_run:
        damage.keep(work.ctx, keys.receipt(ident))
    work.report.repaired += _decide(work, info)


def _decide(work: Work, info: ObjectInfo) -> bool:
    if work.dry_run:
        return True
    passing("sweep.before_publish")
    event = UploadEvent(info.bucket, info.key, "create", info.version, info.etag, info.bytes, None, info.last_modified)
    try:
        on_upload(event, work.ctx)
    except StorageUnavailable:
        work.report.failed += 1  # one object that its server cannot give; the next pass tries again
        return False
    return True
