"""Last stage: uploads in parts that nobody goes on with, of an app that died half way,
are ended; their parts go too.

The age counts from when the upload was begun, as in S3's own lifecycle rules, and by
the store's clock.
"""

from __future__ import annotations

from functools import partial

from handlers.reconcile.pass_context import Work
from shared.errors import PermanentError, StorageUnavailable
from shared.runtime.telemetry import logger
from shared.s3.store import ObjectStore, Unfinished

MOST = 10_000
"""Ended in one pass."""
MOST_FAILED = 10
"""So many that cannot be ended are enough for one pass: the access key may not,
perhaps.
"""


def end_abandoned(work: Work) -> None:
    """End uploads in parts older than `multipart_max_age_s`, and than any ticket that
    is still good.

    A store that cannot list or end them, or whose access key may not, is told of in the
    log: the pass goes on without.
    """
    ctx, settings = work.ctx, work.ctx.settings
    if settings.multipart_max_age_s == 0:
        return
    oldest_s = max(settings.multipart_max_age_s, settings.upload_expires_s)
    failed = 0
    try:
        for upload in ctx.store.unfinished(settings.bucket_uploads):
            if upload.age_s > oldest_s:
                ended = work.dry_run or work.apart.step(
                    "parts", upload.upload_id, partial(_end, ctx.store, upload)
                )
                work.report.multiparts_ended += bool(ended)
                failed += not ended
                if work.report.multiparts_ended == MOST or failed == MOST_FAILED:
                    break
    except (StorageUnavailable, PermanentError) as error:
        logger().warning("sweep.multiparts_kept", error=type(error).__name__)


def _end(store: ObjectStore, upload: Unfinished) -> bool:
    store.end(upload)
    return True
