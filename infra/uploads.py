"""Sending photos and waiting for what becomes of them: what `submit`, the demo and the
benchmarks share.

Everything is read from the bucket, which is the truth; no process of Darkroom is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import NotFound
from shared.runtime.settings import Settings
from shared.s3.store import ObjectInfo, S3Store
from shared.uploads import identity, keys
from shared.uploads.documents import Reason, Receipt, Record


@dataclass
class Upload:
    """One upload on its way; `receipt`, then `record` or `reason`, appear as it goes.
    `reason` ends it badly.
    """

    upload_id: str
    receipt: Receipt | None = None
    record: Record | None = None
    reason: Reason | None = None

    @property
    def ended(self) -> bool:
        return self.record is not None or self.reason is not None

    @property
    def state(self) -> str:
        """What a person is told: uploaded, queued, restored, duplicate, rejected or
        failed.
        """
        if self.reason is not None:
            return self.reason.status
        if self.receipt is None:
            return "uploaded"
        if self.record is None:
            return "queued"
        return "restored" if self.record.upload_id == self.upload_id else "duplicate"


def of_object(info: ObjectInfo) -> Upload:
    """The upload that an object just written is."""
    versioned = info.version not in (None, "", "null")
    version = info.version if versioned and info.version else info.etag
    return Upload(identity.upload_id(info.bucket, info.key, version))


def look(store: S3Store, settings: Settings, upload: Upload) -> None:
    """See how far an upload has come."""
    if upload.receipt is None:
        upload.receipt = _receipt(store, settings, upload.upload_id)
    if upload.receipt is None:
        return
    if upload.receipt.task_id is not None:
        upload.record = _record(store, settings, upload.receipt.task_id)
    if upload.record is None:
        upload.reason = _reason(store, settings, upload.upload_id)


def _receipt(store: S3Store, settings: Settings, upload_id: str) -> Receipt | None:
    data = _read(store, settings.bucket_results, key := keys.receipt(upload_id))
    return Receipt.from_bytes(data, key) if data else None


def _record(store: S3Store, settings: Settings, task_id: str) -> Record | None:
    data = _read(store, settings.bucket_results, key := keys.record(task_id))
    return Record.from_bytes(data, key) if data else None


def _reason(store: S3Store, settings: Settings, upload_id: str) -> Reason | None:
    data = _read(store, settings.bucket_quarantine, key := keys.reason(upload_id))
    return Reason.from_bytes(data, key) if data else None


def _read(store: S3Store, bucket: str, key: str) -> bytes | None:
    try:
        return store.read(bucket, key)
    except NotFound:
        return None
