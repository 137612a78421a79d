"""Whether the owner of an upload took it back, and what follows from that."""

from __future__ import annotations

from datetime import datetime

from shared.errors import Code, PermanentError
from shared.runtime.settings import Settings
from shared.s3.store import ObjectStore
from shared.uploads import keys
from shared.uploads.documents import Reason, Receipt, Record, Superseded

WITHDRAWN = frozenset({Code.CANCELLED, Code.ERASED})
ERASED = "erased"
"""Stands for the key of an erased original."""


def reason_of(
    store: ObjectStore, settings: Settings, upload_id: str, upload_time: datetime
) -> Reason | None:
    """Why this upload (and not an earlier one of the same bytes at its key) ended
    without a result, if it did.
    """
    key = keys.reason(upload_id)
    try:
        reason = Reason.from_bytes(store.read(settings.bucket_quarantine, key), key)
    except PermanentError:  # as good as always there is none
        return None
    return reason if reason.source.upload_time == upload_time else None


def was_erased(
    store: ObjectStore, settings: Settings, upload: Receipt | Reason
) -> bool:
    """Whether its bytes came again at its key, and its owner had this upload erased,
    before that or after.
    """
    key = keys.earlier(upload.upload_id, upload.source.upload_time, upload.task_id)
    try:
        earlier = Superseded.from_bytes(store.read(settings.bucket_results, key), key)
    except PermanentError:  # as good as always there is none
        return False
    return earlier.source.key == ERASED


def withdrawn_as(store: ObjectStore, settings: Settings, record: Record) -> Code | None:
    """`cancelled` or `erased`, where a record was written for an upload that had been
    taken back.

    Its worker is about to see that, or died before it could. Who wants to share the
    result must do without.
    """
    reason = reason_of(store, settings, record.upload_id, record.source.upload_time)
    return reason.error_code if reason and reason.error_code in WITHDRAWN else None
