"""What every stage of the worker stands on; built once, by `gpu_worker.worker`."""

from __future__ import annotations

from dataclasses import dataclass

from gpu_worker.pipeline.retrying import Publisher
from shared.errors import ObjectUnreadable
from shared.runtime.settings import Settings
from shared.s3.clock import Clock
from shared.s3.store import ObjectStore
from shared.uploads.claims import Claims
from shared.uploads.documents import Reason, Receipt
from shared.uploads.ref import UploadRef
from shared.uploads.store import UploadStore


class Uploads(UploadStore):
    """What is known of uploads, but for a reason that the store does not give: to the
    worker that is none.

    The photo is restored, and its end is written, however long that object is refused.
    """

    def reason_of(self, ref: UploadRef) -> Reason | None:
        try:
            return super().reason_of(ref)
        except ObjectUnreadable:
            return None

    def is_withdrawn(self, upload: Receipt | Reason) -> bool:
        try:
            return super().is_withdrawn(upload)
        except ObjectUnreadable:
            return False


@dataclass(frozen=True)
class Context:
    settings: Settings
    store: ObjectStore
    publisher: Publisher
    claims: Claims
    clock: Clock

    @property
    def uploads(self) -> Uploads:
        """What is known of uploads."""
        return Uploads(self.store, self.settings)
