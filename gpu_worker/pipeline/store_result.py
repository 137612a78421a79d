"""Restored photo → stored result: encode, preview, result, record, in that order. The
record commits.
"""

from __future__ import annotations

import platform
import tempfile
from contextlib import suppress
from typing import IO, Any, cast

from gpu_worker import codec
from gpu_worker.pipeline.context import Context
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.outcome import Outcomes
from gpu_worker.pixels import scratch
from gpu_worker.restore import Restored
from shared import __version__
from shared.errors import Code, NotFound, PermanentError, TransientError
from shared.runtime.failpoints import passing
from shared.runtime.heartbeat import own
from shared.s3.store import ObjectInfo
from shared.uploads import keys
from shared.uploads.documents import Record, StepTime

TRIES = 5
SPOOL_BYTES = 64 << 20  # a larger PNG waits on disk, not in memory


class StoreResult:
    """The last stage: needs no device, runs while the next photo is on it."""

    def __init__(
        self, ctx: Context, outcomes: Outcomes, decoder: codec.Decoder | None
    ) -> None:
        self._ctx = ctx
        self._decoder = decoder
        self._outcomes = outcomes

    def __call__(self, job: Job) -> None:
        assert job.restored is not None
        assert job.workflow is not None
        began_s = self._ctx.clock.monotonic()
        folder = str(self._ctx.settings.scratch_dir)
        # A full disk shows while the file is written, before anything of it is stored.
        with (
            scratch.disk(self._ctx.settings),
            tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES, dir=folder) as file,
        ):
            written = self._encode(job, file)
            job.steps.append(
                StepTime(
                    step="encode",
                    seconds=round(self._ctx.clock.monotonic() - began_s, 4),
                )
            )
            stored = self._store(job, file, written)
        passing("worker.after_result")
        ours = self._record(
            job, written, stored, job.busy_s + self._ctx.clock.monotonic() - began_s
        )
        record = self._commit(ours)
        passing("worker.after_record")
        is_own = record.ref == job.receipt.ref
        # Asked after the record, not before: whoever takes the photo back writes his
        # reason first and deletes then, so one of us two sees what the other did.
        if is_own and self._ctx.uploads.is_withdrawn(job.receipt):
            self._ctx.uploads.delete_results(record.task_id)
            self._outcomes.withdrawn(job)
        elif record == ours:
            self._outcomes.restored(job, record)
        else:
            self._outcomes.already_done(job, record)

    def _encode(self, job: Job, file: IO[bytes]) -> codec.Written:
        """The PNG into `file`; the preview, made from the same pixels before any label,
        into the bucket.
        """
        assert job.restored is not None
        assert job.workflow is not None
        settings, photo = self._ctx.settings, job.restored.photo
        text = codec.texts(job.task.task_id, job.workflow, settings.label_producer)
        preview = codec.preview(photo, settings, text, self._decoder)
        self._ctx.store.put(
            self._bucket, keys.preview(job.task.task_id), preview, "image/webp"
        )
        if settings.label_result:
            codec.stamp(photo, settings.label_text)
        return codec.write_png(photo, file, text, settings.png_level)

    def _store(
        self, job: Job, file: IO[bytes], written: codec.Written
    ) -> ObjectInfo | None:
        """None: the result is ours. Otherwise an earlier attempt stored it and died
        before its record.
        """
        assert job.restored is not None
        key, about = keys.result(job.task.task_id), _about(job.restored, written)
        sent = cast(IO[bytes], _Watched(file))
        if self._ctx.store.put_new(self._bucket, key, sent, "image/png", about):
            return None
        with suppress(NotFound):  # taken away between the two looks
            earlier = self._ctx.store.head(self._bucket, key)
            if (
                earlier.metadata.get("bytes") == str(earlier.bytes)
                and "sha256" in earlier.metadata
            ):
                return earlier
        # What lies there, if anything does, is no attempt's: it does not say what it
        # is. No record names it.
        self._ctx.store.put(self._bucket, key, sent, "image/png", about)
        return None

    def _record(
        self,
        job: Job,
        written: codec.Written,
        earlier: ObjectInfo | None,
        busy_s: float,
    ) -> Record:
        restored, workflow, clock = job.restored, job.workflow, self._ctx.clock
        assert restored is not None
        assert workflow is not None
        now = clock.now()
        waited_s = (now - job.task.queued_at).total_seconds() - busy_s
        notes = list(restored.photo.notes)
        if self._ctx.settings.label_result:
            notes.append("a visible label was drawn into the result")
        # What the record says must be true of the stored bytes, whoever stored them.
        about = _about(restored, written)
        if earlier is not None and earlier.metadata.get("sha256") != written.sha256:
            about |= earlier.metadata
            notes.append(
                "the result was stored by an earlier attempt; steps and tiles are those of this one"
            )
        return Record(
            task_id=job.task.task_id,
            upload_id=job.task.upload_id,
            user_hash=job.receipt.user_hash,
            source=job.receipt.source,
            workflow=workflow.ref,
            models=workflow.models,
            engine=about["engine"],
            device=about["device"],
            tile=restored.tile,
            steps=job.steps,
            width=restored.photo.width,
            height=restored.photo.height,
            result_key=keys.result(job.task.task_id),
            result_sha256=about["sha256"],
            result_bytes=int(about["bytes"]),
            attempts=job.claim.attempt,
            queued_at=job.task.queued_at,
            started_at=job.started_at,
            finished_at=now,
            duration_seconds=round(busy_s, 3),
            queue_seconds=round(max(0.0, waited_s), 3),
            peak_memory_bytes=restored.peak_memory_bytes,
            software=about["software"],
            notes=notes,
            preview=job.receipt.preview,
        )

    def _commit(self, record: Record) -> Record:
        """The task's record: this one, or that of whoever was first."""
        uploads = self._ctx.uploads
        for _ in range(TRIES):
            if uploads.commit_record(record):
                return record
            try:
                return uploads.record(record.task_id)
            except NotFound:
                continue  # taken away between the two looks
            except PermanentError as error:
                # the sweep repairs it
                raise TransientError(error.code, error.detail) from error
        raise TransientError(Code.INTERNAL, f"{record.place()} comes and goes")

    @property
    def _bucket(self) -> str:
        return self._ctx.settings.bucket_results


class _Watched:
    """A file that the store sends: waiting for the store may take any time, reading
    from the disk may not.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        with own().working():
            return self._file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _about(restored: Restored, written: codec.Written) -> dict[str, str]:
    """Metadata of the result object: what a record needs that is written for it by
    another attempt.
    """
    return {
        "sha256": written.sha256,
        "bytes": str(written.bytes),
        "engine": restored.engine,
        "device": restored.device,
        "software": f"darkroom {__version__} ({platform.machine()})",
    }
