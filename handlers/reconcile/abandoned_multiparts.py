"""A late stage: multipart uploads that an app abandoned half way are ended.

Finds: multipart uploads older than `multipart_max_age_s`. Does: ends them, which
deletes their parts. Safe to repeat: an ended one is no longer listed. The age counts
from the beginning of the upload, as in S3's own lifecycle rules, by the store's clock.
"""

from __future__ import annotations

from functools import partial

from handlers.reconcile.pass_context import PassContext
from shared.errors import PermanentError, StorageUnavailable
from shared.runtime.telemetry import logger
from shared.s3.store import ObjectStore, Unfinished

MOST = 10_000
"""Most of them ended in one pass."""
MOST_FAILED = 10
"""A pass gives up after so many that cannot be ended: the access key may lack the
right.
"""


def end_abandoned(sweep: PassContext) -> None:
    """End old multipart uploads, but none that a valid ticket may still complete.

    Where the store, or the rights of the access key, do not allow that, the log says
    so, and the pass goes on.
    """
    settings = sweep.settings
    if settings.multipart_max_age_s == 0:
        return
    oldest_s = max(settings.multipart_max_age_s, settings.upload_expires_s)
    failed = 0
    try:
        for upload in sweep.store.unfinished(settings.bucket_uploads):
            if upload.age_s <= oldest_s:
                continue
            is_ended = _is_ended(sweep, upload)
            sweep.report.multiparts_ended += is_ended
            failed += not is_ended
            if sweep.report.multiparts_ended == MOST or failed == MOST_FAILED:
                break
    except (StorageUnavailable, PermanentError) as error:
        logger().warning("sweep.multiparts_kept", error=type(error).__name__)


def _is_ended(sweep: PassContext, upload: Unfinished) -> bool:
    if sweep.dry_run:
        return True
    end = partial(_end, sweep.store, upload)
    return bool(sweep.isolation.run("parts", upload.upload_id, end))


def _end(store: ObjectStore, upload: Unfinished) -> bool:
    store.end(upload)
    return True
