"""Documents that cannot be read, made anew from what is left; the damaged bytes are
kept in the archive bucket.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from typing import TypeVar

from handlers.context import Context
from shared import __version__, workflows
from shared.errors import Code, NotFound, PermanentError
from shared.runtime.telemetry import logger
from shared.uploads import keys
from shared.uploads.documents import (
    Document,
    Fault,
    ModelRef,
    Reason,
    Receipt,
    Record,
    WorkflowRef,
)
from shared.uploads.outcome import ERASED_FAULT, ERASED_KEY

PNG, HEAD_BYTES = b"\x89PNG\r\n\x1a\n", 24
LOST_REASON = Fault(
    error_code=Code.BAD_DOCUMENT,
    error_detail="why it failed could not be read any more; `darkroom dead retry` or another upload begins anew",
)
LOST = "made anew by the sweep from the receipt and the result: the steps, tiles and times of the work are lost"

D = TypeVar("D", bound=Document)


def keep(ctx: Context, key: str, bucket: str = "") -> None:
    """Copy a damaged document of the results bucket into the archive, before anything
    is written in its place.
    """
    info = ctx.store.head(bucket or ctx.settings.bucket_results, key)
    ctx.store.copy(info, ctx.settings.bucket_archive, keys.damaged(key))


def repair_record(ctx: Context, task_id: str) -> bool:
    """Write a damaged record anew. Reads receipts until it finds the task's: rare, and
    then thorough.

    Without its result the record is taken away instead, so that the photo is restored
    again.
    """
    receipt = _find(
        ctx,
        "receipts/",
        Receipt,
        lambda found: found.task_id == task_id and found.decision == "queued",
    )
    if receipt is None:
        return _told("record", repaired=False)
    keep(ctx, keys.record(task_id))
    try:
        record = _record(ctx, receipt)
    except NotFound:
        ctx.uploads.delete_record(task_id)
        ctx.uploads.write_receipt(receipt)
        return _told("record", repaired=True)
    ctx.uploads.write_record(record)
    return _told("record", repaired=True)


def repair_receipt(ctx: Context, upload_id: str) -> bool:
    """Write a damaged receipt anew, whose upload is gone, from the record of what was
    made of it.
    """
    record = _find(
        ctx, "processed/", Record, lambda found: found.upload_id == upload_id
    )
    if record is None:
        return _told("receipt", repaired=False)
    keep(ctx, keys.receipt(upload_id))
    ctx.uploads.write_receipt(Receipt.of_record(record))
    return _told("receipt", repaired=True)


def repair_reason(ctx: Context, upload_id: str) -> bool:
    """Write a damaged reason anew from the receipt. Why a worker gave the photo up is
    lost, that it did is not.

    The photo is not restored again by itself: its owner may have cancelled it.
    """
    try:
        receipt = ctx.uploads.receipt(upload_id)
    except PermanentError:
        return _told("reason", repaired=False)
    fault, rejected = receipt.fault or LOST_REASON, receipt.decision == "rejected"
    if receipt.source.key == ERASED_KEY:
        fault = ERASED_FAULT
    bucket, key = ctx.settings.bucket_quarantine, keys.reason(upload_id)
    reason = Reason(
        upload_id=upload_id,
        task_id=receipt.task_id,
        error_code=fault.error_code,
        error_detail=fault.error_detail,
        status="rejected" if rejected and fault is not ERASED_FAULT else "failed",
        source=receipt.source,
        retries=receipt.retries,
        at=receipt.decided_at
        if rejected
        else ctx.store.head(bucket, key).last_modified,
    )
    keep(ctx, key, bucket)
    ctx.uploads.write_reason(reason)
    return _told("reason", repaired=True)


def _told(kind: str, *, repaired: bool) -> bool:
    logger().error("document.damaged", kind=kind, repaired=repaired)
    return repaired


def _find(
    ctx: Context, prefix: str, kind: type[D], wanted: Callable[[D], bool]
) -> D | None:
    bucket = ctx.settings.bucket_results
    for info in ctx.store.list(bucket, prefix):
        if info.key.endswith(".json"):
            try:
                found = kind.from_bytes(ctx.store.read(bucket, info.key), info.key)
            except PermanentError:
                continue
            if wanted(found):
                return found
    return None


def _record(ctx: Context, receipt: Receipt) -> Record:
    """Raises `NotFound` when there is no result, or not a whole one."""
    assert receipt.task_id is not None
    assert receipt.workflow is not None
    with ctx.store.open(
        ctx.settings.bucket_results, keys.result(receipt.task_id)
    ) as stream:
        info, (sha256, size, head) = stream.info, _digest(stream.chunks())
    said = info.metadata.get("bytes", str(size)), info.metadata.get("sha256", sha256)
    if (
        not head.startswith(PNG)
        or len(head) < HEAD_BYTES
        or said != (str(size), sha256)
    ):
        raise NotFound(
            Code.BAD_DOCUMENT, f"{info.key}: {size} bytes that are no whole result"
        )
    width, height = struct.unpack(">II", head[16:HEAD_BYTES])  # of its first chunk
    stored = info.last_modified
    return Record(
        task_id=receipt.task_id,
        upload_id=receipt.upload_id,
        user_hash=receipt.user_hash,
        source=receipt.source,
        workflow=receipt.workflow,
        models=_models(receipt.workflow),
        engine=info.metadata.get("engine", "unknown"),
        device=info.metadata.get("device", "unknown"),
        tile={},
        steps=[],
        width=width,
        height=height,
        result_key=info.key,
        result_sha256=sha256,
        result_bytes=size,
        attempts=1,
        queued_at=receipt.decided_at,
        started_at=stored,
        finished_at=stored,
        duration_seconds=0.0,
        queue_seconds=0.0,
        peak_memory_bytes=0,
        software=f"darkroom {__version__}",
        notes=[LOST],
    )


def _digest(chunks: Iterator[bytes]) -> tuple[str, int, bytes]:
    digest, size, head = hashlib.sha256(), 0, b""
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        head = (head + chunk)[:HEAD_BYTES]
    return digest.hexdigest(), size, head


def _models(asked: WorkflowRef) -> list[ModelRef]:
    """The models of a workflow, if this release still has it as it was."""
    try:
        resolved = workflows.resolve(asked.name, asked.params)
    except PermanentError:
        return []
    return resolved.models if resolved.ref.signature == asked.signature else []
