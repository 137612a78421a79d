"""The record of a restored photo, and what the result object says of itself."""

from __future__ import annotations

import platform
from datetime import datetime

from gpu_worker.codec import Written
from gpu_worker.pipeline.job import Job
from gpu_worker.restore import Restored
from shared import __version__
from shared.s3.store import ObjectInfo
from shared.uploads import keys
from shared.uploads.documents import Record

LABEL_NOTE = "a visible label was drawn into the result"
NOT_LOOKED_AT = "faces were not looked at: the worker has no face detector"
PASSED_NOTE = (
    "{} smaller photos were restored between its tiles; the time of its steps contains "
    "the {:.1f} s that they took"
)
EARLIER_NOTE = (
    "the result was stored by an earlier attempt; steps and tiles are those of this one"
)


def result_metadata(restored: Restored, written: Written) -> dict[str, str]:
    """Metadata of the result object: what another attempt needs for its record, if this
    one dies before it has written its own.
    """
    return {
        "sha256": written.sha256,
        "bytes": str(written.bytes),
        "engine": restored.engine,
        "device": restored.device,
        "software": f"darkroom {__version__} ({platform.machine()})",
    }


def record_of(
    job: Job,
    written: Written,
    earlier: ObjectInfo | None,
    finished_at: datetime,
    busy_s: float,
    is_labelled: bool,
) -> Record:
    """The record of this attempt. `earlier`: the result that an earlier attempt stored,
    if one did; `busy_s`: the time that was spent on the photo.
    """
    restored, workflow = job.restored, job.workflow
    assert restored is not None
    assert workflow is not None
    notes = [*restored.photo.notes, *job.notes]
    if _were_faces_missed(job):
        notes.append(NOT_LOOKED_AT)
    if is_labelled:
        notes.append(LABEL_NOTE)
    if job.passed_by:
        notes.append(PASSED_NOTE.format(job.passed_by, job.passed_s))
    # What the record says must be true of the stored bytes, whichever attempt stored
    # them.
    result = result_metadata(restored, written)
    if earlier is not None and earlier.metadata.get("sha256") != written.sha256:
        result |= earlier.metadata
        notes.append(EARLIER_NOTE)
    waited_s = (finished_at - job.task.queued_at).total_seconds() - busy_s
    return Record(
        task_id=job.task_id,
        upload_id=job.upload_id,
        user_hash=job.receipt.user_hash,
        source=job.receipt.source,
        workflow=workflow.ref,
        models=job.applied.models,
        engine=result["engine"],
        device=result["device"],
        tile=restored.tile,
        steps=job.steps,
        width=restored.photo.width,
        height=restored.photo.height,
        result_key=keys.result(job.task_id),
        result_sha256=result["sha256"],
        result_bytes=int(result["bytes"]),
        attempts=job.claim.attempt,
        queued_at=job.task.queued_at,
        started_at=job.started_at,
        finished_at=finished_at,
        duration_seconds=round(busy_s, 3),
        queue_seconds=round(max(0.0, waited_s), 3),
        peak_memory_bytes=max(restored.peak_memory_bytes, job.peak_memory_bytes),
        peak_device_memory_bytes=restored.peak_device_memory_bytes,
        concurrency=job.concurrency,
        software=result["software"],
        notes=notes,
        preview=job.receipt.preview,
        plan=job.plan,
        mask_key=keys.mask(job.task_id) if restored.mask is not None else None,
        formats=job.receipt.formats,
        copies=job.copies,
        credentials=job.credentials,
        run_of=job.receipt.run_of,
    )


def _were_faces_missed(job: Job) -> bool:
    """Whether a gate asked for faces that nobody looked for."""
    assert job.workflow is not None
    asks = any(step.kind == "faces" and step.gated for step in job.workflow.steps)
    return asks and job.plan is not None and job.plan.look.get("faces") is None
