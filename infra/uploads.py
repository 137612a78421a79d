"""Sending photos and waiting for what becomes of them: what `submit`, the demo and the
benchmarks share.

Everything is read from the bucket, which is the truth; no process of Darkroom is involved.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from shared.errors import NotFound
from shared.runtime.settings import StoreSettings
from shared.s3.store import ObjectInfo, S3Store
from shared.uploads.documents import Fault, Receipt, Record
from shared.uploads.outcome import Outcome
from shared.uploads.ref import upload_id_of
from shared.uploads.store import UploadStore


@dataclass
class Upload:
    """One upload on its way; `receipt`, then `outcome`, appear as it goes. `sent_at`: by
    the store's clock, where it is known: the same file may have been sent before.
    """

    upload_id: str
    sent_at: datetime | None = None
    receipt: Receipt | None = None
    outcome: Outcome | None = None

    def is_of(self, receipt: Receipt) -> bool:
        """Whether the receipt is about this upload, and not an earlier one of its id."""
        return self.sent_at is None or receipt.source.upload_time >= self.sent_at

    @property
    def ended(self) -> bool:
        return self.outcome is not None

    @property
    def record(self) -> Record | None:
        """What was done to the photo, once it is restored."""
        return self.outcome.record if self.outcome else None

    @property
    def fault(self) -> Fault | None:
        """Why it ended without a result."""
        return self.outcome.fault if self.outcome else None

    @property
    def state(self) -> str:
        """What a person is told: uploaded, queued, restored, duplicate, rejected or
        failed.
        """
        if self.outcome:
            status = self.outcome.published_status
            return "restored" if status == "success" else status
        return "queued" if self.receipt else "uploaded"


def of_object(info: ObjectInfo) -> Upload:
    """The upload that an object just written is."""
    return Upload(upload_id_of(info))


def look(store: S3Store, settings: StoreSettings, upload: Upload) -> None:
    """See how far an upload has come."""
    uploads = UploadStore(store, settings)
    if upload.receipt is None:
        with suppress(NotFound):
            found = uploads.receipt(upload.upload_id)
            upload.receipt = found if upload.is_of(found) else None
    if upload.receipt:
        upload.outcome = uploads.readable_outcome(upload.receipt)
