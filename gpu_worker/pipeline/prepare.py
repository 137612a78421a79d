"""Claimed job → decoded photo: decode what was uploaded, once it is there, and look at
it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from gpu_worker import codec, gates
from gpu_worker.codec.told_captions import with_told
from gpu_worker.damage.painted import painted
from gpu_worker.photo import Mask, Photo
from gpu_worker.pipeline.context import Context
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.preview_region import preview_mask, preview_region
from shared import workflows
from shared.errors import Code, NotFound, OtherRelease, PermanentError
from shared.runtime.failpoints import passing
from shared.s3.store import ObjectStore
from shared.uploads import events
from shared.uploads.documents import Source, WorkflowRef
from shared.workflows import ResolvedWorkflow

DELETED = "the upload was deleted before it was restored; upload it again"
OVERWRITTEN = (
    "the upload was overwritten before it was restored; the later upload has a task of "
    "its own"
)


class Prepare:
    """The first stage. It needs no device, and runs ahead of it. `check`
    raises `Missing` for a workflow that this worker cannot run.
    """

    def __init__(
        self,
        ctx: Context,
        decoder: codec.Decoders,
        check: Callable[[ResolvedWorkflow], None] = lambda _: None,
    ) -> None:
        self._settings = ctx.settings
        self._store = ctx.store
        self._publisher = ctx.publisher
        self._decoder = decoder
        self._check = check

    def __call__(self, job: Job) -> None:
        """Raises `PermanentError` with the photo's fault.

        Raises `OtherRelease` or `Missing` before anything else, where another worker
        may be able to do the work and this one is not: then the photo still waits, and
        the audit log hears nothing else.
        """
        job.workflow = resolve(job.receipt.workflow)
        self._check(job.workflow)
        self._publish_processing(job)
        assert job.original is not None
        data = job.original.answer()
        job.original = (
            None  # the bytes are needed no longer than until they are decoded
        )
        passing("worker.after_fetch")
        photo = self._decode(data, job.receipt.source)
        # A preview shows what would be done to the whole photo.
        job.plan = gates.plan_of(photo, job.workflow, self._settings)
        job.painted = self._painted(job.receipt.mask, photo)
        spec = job.receipt.preview
        if spec is not None:
            photo = preview_region(photo, spec, self._settings)
        if spec is not None and job.painted is not None:
            job.painted = preview_mask(job.painted, spec, photo)
        job.photo = photo

    def _publish_processing(self, job: Job) -> None:
        receipt = job.receipt
        event = events.of_processing(receipt, job.claim.attempt, job.started_at)
        events.publish_event(self._publisher, event, receipt)

    def _painted(self, source: Source | None, photo: Photo) -> Mask | None:
        """The mask that came with the photo, in the photo's size."""
        if source is None:
            return None
        try:
            data = fetch(self._store, source)
            picture = self._decode(data, source)
        except PermanentError as error:
            detail = f"the mask cannot be used: {error.detail}"
            raise PermanentError(error.code, detail) from error
        return painted(picture, photo.width, photo.height)

    def _decode(self, data: bytearray, source: Source) -> Photo:
        expected_pixels = None
        if source.width and source.height:
            expected_pixels = source.width * source.height
        photo = self._decoder.decode(data, expected_pixels, source.page or 1)
        return with_told(photo, source.captions)


def fetch(store: ObjectStore, source: Source) -> bytearray:
    """The very bytes that the receipt names. Raises `PermanentError`: `source_missing`,
    or `source_changed` where others lie at their key by now.
    """
    try:
        data = store.read_same(source.stored)
    except NotFound as error:
        raise PermanentError(Code.SOURCE_MISSING, DELETED) from error
    except PermanentError as error:
        if error.code != Code.SOURCE_CHANGED:
            raise
        raise PermanentError(Code.SOURCE_CHANGED, OVERWRITTEN) from error
    if hashlib.sha256(data).hexdigest() != source.sha256:
        raise PermanentError(Code.SOURCE_CHANGED, OVERWRITTEN)
    return data


def resolve(wanted: WorkflowRef | None) -> ResolvedWorkflow:
    """The workflow that the task's identity holds. Raises `OtherRelease` where this
    worker has another version of it, or none.
    """
    assert wanted is not None
    try:
        workflow = workflows.resolve(wanted.name, wanted.params, wanted.version)
    except PermanentError as error:
        found = error.detail  # the handler that decided knew the workflow
    else:
        ref = workflow.ref
        if ref.signature == wanted.signature:
            return workflow
        found = f"this worker has version {ref.version} ({ref.signature})"
    # This happens during a rolling upgrade. Only a worker that has the other workflow
    # may do the task.
    raise OtherRelease(
        Code.UNKNOWN_WORKFLOW,
        f"the task wants {wanted.name} version {wanted.version} ({wanted.signature}), "
        f"and {found}; run a worker of that release, or upload the photo again",
    )
