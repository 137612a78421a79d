"""Whether the owner of an upload took it back, and what follows from that."""

from __future__ import annotations

from datetime import datetime

from shared import keys
from shared.documents import Reason, Record
from shared.errors import Code, PermanentError
from shared.settings import Settings
from shared.storage import ObjectStore

WITHDRAWN = frozenset({Code.CANCELLED, Code.ERASED})


def is_withdrawn(store: ObjectStore, settings: Settings, upload_id: str, upload_time: datetime) -> bool:
    """Whether this upload (and not an earlier one of the same bytes at its key) was cancelled or erased."""
    key = keys.reason(upload_id)
    try:
        reason = Reason.from_bytes(store.read(settings.bucket_quarantine, key), key)
    except PermanentError:  # as good as always there is none
        return False
    return reason.source.upload_time == upload_time and reason.error_code in WITHDRAWN


def is_void(store: ObjectStore, settings: Settings, record: Record) -> bool:
    """Whether a record was written for an upload that had been taken back: its worker died before it saw that.

    Nobody may share its result, which is about to go.
    """
    return is_withdrawn(store, settings, record.upload_id, record.source.upload_time)
