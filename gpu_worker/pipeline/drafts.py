"""Drafts: of an interactive photo that takes long, what is done so far lies in the bucket
for those who wait for it.

A draft is made and stored by a thread of its own, without a second try, and whatever
befalls it is no matter of the photo's. A photo that is done soon has none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from weakref import ref

from gpu_worker import codec
from gpu_worker.photo import Metadata, Pixels
from gpu_worker.pipeline.job import Job
from gpu_worker.tile_runner import Placed, ignore
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger
from shared.s3.clock import Clock
from shared.s3.store import ObjectStore
from shared.uploads import keys
from shared.uploads.claims import DraftNote
from shared.uploads.store import UploadStore

FIRST_S = 5.0
"""A photo that is restored so soon has no draft."""
EVERY_S = 5.0
EVERY_PART = 0.1
"""The pause is at least this part of the time that the photo took so far."""
REFUSED_S = 60.0
"""Pause after a draft could not be made or stored."""

Part = tuple[slice, slice]


class Drafts:
    """The drafts of all photos of a worker. `store` tries once: a draft that comes late
    is worth nothing.
    """

    def __init__(self, store: ObjectStore, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._uploads = UploadStore(store, settings)
        self._settings = settings
        self._clock = clock

    def of(self, job: Job) -> Placed:
        """What is told of each part of this job's photo that is done."""
        receipt = job.receipt
        if receipt.priority != "interactive" or receipt.preview is not None:
            return ignore
        return _Drawing(partial(self._put, job, _meta(job)), job, self._clock).placed

    def _put(self, job: Job, meta: Metadata, draft: codec.Draft) -> None:
        """Store a draft, of which the next renewal of the lease tells. One that comes
        after the attempt's end goes again; of a photo that was taken back none is stored,
        though the work on it may go on for a while.
        """
        if self._uploads.is_withdrawn(job.receipt):
            return
        assert job.workflow is not None
        assert job.receipt.workflow is not None
        bucket, key = self._settings.bucket_results, keys.draft(job.task_id)
        producer = self._settings.label_producer
        text = codec.texts(job.task_id, job.workflow, producer)
        data = draft.to_webp(meta, self._settings, text)
        job.is_drafted = True
        if not job.ended:
            self._store.put(bucket, key, data, "image/webp")
        if job.ended:
            self._store.delete(bucket, key)
            return
        earlier = job.draft or job.claim.note.draft
        number = earlier.number + 1 if earlier else 1
        signature = job.receipt.workflow.signature
        job.draft = DraftNote(number=number, signature=signature)


class _Drawing:
    """The draft of one photo, as it grows. It does not keep the canvas, which may be
    large, from being given back.
    """

    def __init__(
        self, put: Callable[[codec.Draft], None], job: Job, clock: Clock
    ) -> None:
        self._put = put
        self._task_id = job.task_id
        self._now_s = clock.monotonic
        self._begun_s = self._now_s()
        self._due_s = self._begun_s + FIRST_S
        self._lock = threading.Lock()
        self._canvas: Callable[[], Pixels | None] = lambda: None
        self._draft: codec.Draft | None = None
        self._parts: list[Part] = []
        self._is_busy = False

    def placed(self, canvas: Pixels, rows: slice, columns: slice) -> None:
        """Note a part; where a draft is due, have it made beside the work."""
        with self._lock:
            if self._canvas() is not canvas:
                # Another step: what the one before it did is no picture of this one.
                self._canvas = ref(canvas)
                self._draft = None
                self._parts = []
            self._parts.append((rows, columns))
            if self._is_busy or self._now_s() < self._due_s:
                return
            self._is_busy = True
            self._draft = draft = self._draft or codec.Draft(canvas.shape)
            parts, self._parts = self._parts, []
        make = partial(self._make, draft, canvas, parts)
        threading.Thread(target=make, name="draft", daemon=True).start()

    def _make(self, draft: codec.Draft, canvas: Pixels, parts: list[Part]) -> None:
        took_s = self._now_s() - self._begun_s
        pause_s = max(EVERY_S, took_s * EVERY_PART)
        try:
            for rows, columns in parts:
                draft.show(canvas, rows, columns)
            self._put(draft)
        except Exception as error:
            kind = type(error).__name__
            logger().warning("draft.failed", task_id=self._task_id, error=kind)
            pause_s = REFUSED_S
        with self._lock:
            self._due_s = self._now_s() + pause_s
            self._is_busy = False


def _meta(job: Job) -> Metadata:
    assert job.photo is not None
    return job.photo.meta
