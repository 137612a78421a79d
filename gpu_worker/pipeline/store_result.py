"""Restored photo → stored result: preview and result, beside each other, then content
credentials and copies, then the record, which commits.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO

from gpu_worker import codec
from gpu_worker.pipeline import sidecars
from gpu_worker.pipeline.beside import Asked
from gpu_worker.pipeline.context import Context
from gpu_worker.pipeline.copies import CopyMaker
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.outcome import Outcomes
from gpu_worker.pipeline.record import record_of, result_metadata
from gpu_worker.pixels import scratch
from gpu_worker.restore import check_result_bytes
from shared.errors import Code, NotFound, PermanentError, TransientError
from shared.runtime.failpoints import passing
from shared.runtime.heartbeat import own
from shared.s3.store import ObjectInfo
from shared.uploads import keys
from shared.uploads.documents import Record, StepTime

COMMIT_TRIES = 5
SPOOL_BYTES = 64 << 20  # a larger PNG waits on disk, not in memory


class StoreResult:
    """The last stage. It needs no device, and runs while other photos are on it.

    Raises `SettingsError` where results are to be signed, and cannot be.
    """

    def __init__(
        self, ctx: Context, outcomes: Outcomes, decoder: codec.Decoders | None
    ) -> None:
        self._clock = ctx.clock
        self._settings = ctx.settings
        self._bucket = ctx.settings.bucket_results
        self._objects = ctx.store
        self._uploads = ctx.uploads
        self._decoder = decoder
        self._copies = CopyMaker(ctx, decoder)
        self._sidecars = sidecars.of_settings(ctx)
        self._outcomes = outcomes

    def __call__(self, job: Job) -> None:
        """Raises `TransientError` where the disk is full or the store has no stable
        answer.
        """
        began_s = self._now_s()
        written, earlier = self._write(job)
        passing("worker.after_result")
        ours = self._record(job, written, earlier, began_s)
        record = self._commit(ours)
        passing("worker.after_record")
        if self._was_withdrawn(job, record):
            self._uploads.delete_results(record.task_id)
            self._outcomes.withdrawn(job)
        elif record == ours:
            self._outcomes.restored(job, record)
        else:
            self._outcomes.already_done(job, record)

    def _record(
        self,
        job: Job,
        written: codec.Written,
        earlier: ObjectInfo | None,
        began_s: float,
    ) -> Record:
        """The record as of now; `began_s`: when this stage began."""
        return record_of(
            job,
            written,
            earlier,
            finished_at=self._clock.now(),
            busy_s=job.busy_s + self._now_s() - began_s,
            is_labelled=self._settings.label_result,
        )

    def _was_withdrawn(self, job: Job, record: Record) -> bool:
        """Whether the owner took the photo back meanwhile.

        Cancellation writes its reason before it deletes, and this is called after the
        record is written: in either order one side sees the other.
        """
        if record.ref != job.receipt.ref:
            return False
        return self._uploads.is_withdrawn(job.receipt)

    def _write(self, job: Job) -> tuple[codec.Written, ObjectInfo | None]:
        """Encode and store the result: what was written, and the result of an earlier
        attempt, if that one stands.
        """
        began_s = self._now_s()
        folder = str(self._settings.scratch_dir)
        # A full disk shows while the file is written, before any of it is stored.
        with (
            scratch.disk(self._settings),
            _SpoolFile(max_size=SPOOL_BYTES, dir=folder) as file,
        ):
            self._store_mask(job)
            preview = self._store_preview(job)
            try:
                written = self._encode(job, file)
                seconds = round(self._now_s() - began_s, 4)
                job.steps.append(StepTime(step="encode", seconds=seconds))
                earlier = self._store(job, file, written)
                if self._sidecars and job.receipt.preview is None:
                    record = self._record(job, written, earlier, began_s)
                    is_ours = record.result_sha256 == written.sha256
                    self._sidecars.make(job, record, file if is_ours else None)
            finally:
                # Whatever becomes of this attempt: a preview that came later would
                # outlive the results of a photo that is erased.
                preview.wait()
        preview.answer()
        if job.receipt.formats:
            self._make_copies(job, earlier or written)
        return written, earlier

    def _make_copies(self, job: Job, result: codec.Written | ObjectInfo) -> None:
        """Make the copies beside the result that stands."""
        began_s = self._now_s()
        if isinstance(result, ObjectInfo):
            result = codec.Written(result.metadata["sha256"], result.bytes)
        self._copies.make(job, self._text(job)[codec.XMP_KEYWORD], result)
        seconds = round(self._now_s() - began_s, 4)
        job.steps.append(StepTime(step="copies", seconds=seconds))

    def _store_preview(self, job: Job) -> Asked[ObjectInfo]:
        """Make the preview, and have it stored beside what follows. It is made of the
        pixels before they are labelled.
        """
        assert job.restored is not None
        photo = job.restored.photo
        preview = codec.preview(photo, self._settings, self._text(job), self._decoder)
        key = keys.preview(job.task_id)
        put = self._objects.put
        return Asked(partial(put, self._bucket, key, preview, "image/webp"))

    def _store_mask(self, job: Job) -> None:
        """Store where a repair may have changed pixels: before the result, which is then
        never without.
        """
        assert job.restored is not None
        mask = job.restored.mask
        if mask is None:
            return
        settings = self._settings
        folder = str(settings.scratch_dir)
        with _SpoolFile(max_size=SPOOL_BYTES, dir=folder) as file:
            codec.write_mask(mask, file, settings.png_level)
            key = keys.mask(job.task_id)
            self._objects.put(self._bucket, key, file, "image/png")

    def _text(self, job: Job) -> dict[str, str]:
        """What the files say of themselves."""
        assert job.restored is not None
        producer = self._settings.label_producer
        words = job.restored.photo.meta.captions
        return codec.texts(job.task_id, job.applied, producer, words)

    def _encode(self, job: Job, file: IO[bytes]) -> codec.Written:
        """Write the PNG into `file`. Raises `PermanentError(too_many_pixels)`."""
        assert job.restored is not None
        settings = self._settings
        photo = job.restored.photo
        if settings.label_result:
            codec.stamp(photo, settings.label_text)
        written = codec.write_png(photo, file, self._text(job), settings.png_level)
        check_result_bytes(photo.width, photo.height, written.bytes)
        return written

    def _store(
        self, job: Job, file: IO[bytes], written: codec.Written
    ) -> ObjectInfo | None:
        """None: the result is ours. Otherwise an earlier attempt stored it, and died
        before its record.
        """
        assert job.restored is not None
        key = keys.result(job.task_id)
        metadata = result_metadata(job.restored, written)
        if self._objects.put_new(self._bucket, key, file, "image/png", metadata):
            return None
        with suppress(NotFound):  # deleted between the two requests
            earlier = self._objects.head(self._bucket, key)
            if _is_result(earlier):
                return earlier
        # What lies there, if anything does, was stored by no attempt, and no record
        # names it.
        self._objects.put(self._bucket, key, file, "image/png", metadata)
        return None

    def _commit(self, record: Record) -> Record:
        """The task's record: this one, or that of the attempt that was first."""
        for _ in range(COMMIT_TRIES):
            if self._uploads.commit_record(record):
                return record
            try:
                return self._uploads.record(record.task_id)
            except NotFound:
                continue  # deleted between the two requests
            except PermanentError as error:
                # The sweep repairs a damaged record.
                raise TransientError(error.code, error.detail) from error
        raise TransientError(Code.INTERNAL, f"{record.place()} comes and goes")

    def _now_s(self) -> float:
        return self._clock.monotonic()


class _SpoolFile(SpooledTemporaryFile[bytes]):
    """The file that the store sends. Waiting for the store may take any time, but
    reading from the disk may not.
    """

    def read(self, *size: int) -> bytes:
        with own().working():
            return super().read(*size)


def _is_result(stored: ObjectInfo) -> bool:
    """Whether the object says of itself what an attempt says of its result."""
    has_size = stored.metadata.get("bytes") == str(stored.bytes)
    return has_size and "sha256" in stored.metadata
