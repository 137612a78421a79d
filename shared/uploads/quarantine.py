"""What is kept of a photo that ended without a result, beside the reason for it."""

from __future__ import annotations

from shared.errors import ObjectRefused, PermanentError
from shared.runtime.settings import StoreSettings
from shared.runtime.telemetry import logger
from shared.s3.store import ObjectStore
from shared.uploads import keys
from shared.uploads.documents import Source


def keep_copy(
    store: ObjectStore, settings: StoreSettings, upload_id: str, source: Source
) -> None:
    """Have the store copy the very bytes that the upload was. Raises
    `StorageUnavailable`.

    Where these are gone, others lie at their key by now, or the store refuses, the
    reason stands without a copy: that of a later photo would be kept under the name of
    an earlier one, and no erasure would find it there.
    """
    try:
        copy = keys.quarantined(upload_id, source.key, source.filename)
        store.copy(
            source.stored, settings.bucket_quarantine, copy, if_match=source.etag
        )
    except (PermanentError, ObjectRefused) as error:
        logger().warning("quarantine.no_copy", upload_id=upload_id, code=error.code)
