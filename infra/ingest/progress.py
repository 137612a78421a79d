"""What became of a job's photos, read in the bucket, which is the truth."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from infra import uploads
from infra.uploads import Upload
from shared.errors import Code
from shared.runtime.settings import StoreSettings
from shared.s3.store import S3Store
from shared.uploads.documents import Record
from shared.uploads.ingests import IngestItem

READERS = 16
POLL_S = 0.5


@dataclass(frozen=True)
class ItemState:
    """How far one item of a job has come.

    `status` is uploaded, queued, restored, duplicate, rejected or failed; or `unsent`
    for what the sending refused. `code`, `detail` say why there is no result.
    """

    item: IngestItem
    status: str
    upload: Upload | None = None
    code: Code | None = None
    detail: str | None = None

    @property
    def record(self) -> Record | None:
        """What was done to the photo; None where there is no result (yet)."""
        return self.upload.record if self.upload else None

    @property
    def has_failed(self) -> bool:
        """Whether the photo needs somebody."""
        return self.code is not None

    @property
    def is_under_way(self) -> bool:
        """Whether the photo has no end yet."""
        return self.status in ("uploaded", "queued")


class Watch:
    """Looks at uploads in the bucket, several at once."""

    def __init__(self, store: S3Store, settings: StoreSettings) -> None:
        self._store = store
        self._settings = settings

    def states(self, items: Iterable[IngestItem]) -> Iterator[ItemState]:
        """The states of items, in their order."""
        with ThreadPoolExecutor(READERS) as pool:
            yield from pool.map(self._state, items)

    def look(self, upload: Upload) -> None:
        """See how far an upload has come."""
        uploads.look(self._store, self._settings, upload)

    def _state(self, item: IngestItem) -> ItemState:
        if item.upload_id is None:
            return ItemState(
                item, "unsent", code=item.error_code, detail=item.error_detail
            )
        upload = Upload(item.upload_id)
        self.look(upload)
        fault = upload.fault
        code, detail = (fault.error_code, fault.error_detail) if fault else (None, None)
        return ItemState(item, upload.state, upload, code, detail)


class InFlight:
    """At most so many of a job's photos wait for a worker at a time."""

    def __init__(self, most: int, watch: Watch) -> None:
        self._most = most
        self._watch = watch
        self._uploads: dict[str, Upload] = {}
        self._lock = threading.Lock()

    def add(self, upload_id: str) -> None:
        with self._lock:
            self._uploads[upload_id] = Upload(upload_id)

    def wait_for_room(self) -> None:
        while len(self._uploads) >= self._most:
            self._forget_ended()
            if len(self._uploads) >= self._most:
                time.sleep(POLL_S)

    def wait_for_all(self, deadline_s: float) -> bool:
        """Whether all had an end before a point of time (monotonic)."""
        while self._uploads and time.monotonic() < deadline_s:
            self._forget_ended()
            if self._uploads:
                time.sleep(POLL_S)
        return not self._uploads

    def __len__(self) -> int:
        return len(self._uploads)

    def _forget_ended(self) -> None:
        for upload in list(self._uploads.values()):
            self._watch.look(upload)
            if upload.ended:
                with self._lock:
                    del self._uploads[upload.upload_id]
