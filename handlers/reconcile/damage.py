"""Damaged documents, made anew from what is left.

The damaged bytes are kept in the archive bucket before anything is written in their
place. Safe to repeat: a repaired document is not damaged any more.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError

from handlers.context import Context
from shared import __version__, workflows
from shared.errors import Code, NotFound, PermanentError
from shared.runtime.telemetry import logger
from shared.s3.store import ObjectInfo
from shared.uploads import keys
from shared.uploads.documents import (
    Copy,
    Credentials,
    Document,
    Fault,
    ModelRef,
    Reason,
    Receipt,
    Record,
    Run,
    WorkflowRef,
)
from shared.uploads.outcome import ERASED_FAULT, ERASED_KEY

PNG = b"\x89PNG\r\n\x1a\n"
HEAD_BYTES = 24
"""Bytes of a PNG up to its width and height."""
LOST_REASON = Fault(
    error_code=Code.BAD_DOCUMENT,
    error_detail="why it failed could not be read any more; `darkroom dead retry` or another upload begins anew",
)
LOST = "made anew by the sweep from the receipt and the result: the steps, tiles and times of the work are lost"

D = TypeVar("D", bound=Document)


@dataclass(frozen=True)
class _Digest:
    sha256: str
    size: int
    head: bytes


def keep(ctx: Context, key: str, bucket: str = "") -> None:
    """Copy a damaged document into the archive; it lies in the results bucket, unless
    another is named.
    """
    info = ctx.store.head(bucket or ctx.settings.bucket_results, key)
    ctx.store.copy(info, ctx.settings.bucket_archive, keys.damaged(key))


def repair_record(ctx: Context, task_id: str) -> bool:
    """Write a damaged record anew, from the receipt and the result of its task.

    Receipts are read until the task's is found: this is rare, and then thorough.
    Without its result the record is deleted, so that the photo is restored again.
    """

    def is_of_task(receipt: Receipt) -> bool:
        return receipt.task_id == task_id and receipt.decision == "queued"

    receipt = _find(ctx, "receipts/", Receipt, is_of_task)
    if receipt is None:
        return _logged("record", repaired=False, task_id=task_id)
    keep(ctx, keys.record(task_id))
    try:
        record = _record_of(ctx, receipt)
    except NotFound:
        ctx.uploads.delete_record(task_id)
        ctx.uploads.write_receipt(receipt)
        return _logged("record", repaired=True, task_id=task_id)
    ctx.uploads.write_record(record)
    return _logged("record", repaired=True, task_id=task_id)


def repair_receipt(ctx: Context, upload_id: str) -> bool:
    """Write a damaged receipt, to which no object leads, anew: of a run from what
    leads to it, of an upload that is gone from the record of what was made of it.
    """

    def is_of_upload(document: Run | Record) -> bool:
        return document.upload_id == upload_id

    run = _find(ctx, keys.runs(), Run, is_of_upload)
    if run:
        keep(ctx, keys.receipt(upload_id))
        ctx.uploads.write_receipt(Receipt.model_validate(run.model_dump()))
        return _logged("receipt", repaired=True, upload_id=upload_id)
    record = _find(ctx, keys.PROCESSED, Record, is_of_upload)
    if record is None:
        return _logged("receipt", repaired=False, upload_id=upload_id)
    keep(ctx, keys.receipt(upload_id))
    ctx.uploads.write_receipt(Receipt.of_record(record))
    return _logged("receipt", repaired=True, upload_id=upload_id)


def repair_reason(ctx: Context, upload_id: str) -> bool:
    """Write a damaged reason anew from the receipt.

    Why a worker gave the photo up is lost; that it did is not. The photo is not
    restored again by itself, because its owner may have cancelled it.
    """
    try:
        receipt = ctx.uploads.receipt(upload_id)
    except PermanentError:
        return _logged("reason", repaired=False, upload_id=upload_id)
    bucket, key = ctx.settings.bucket_quarantine, keys.reason(upload_id)
    ended_at = ctx.store.head(bucket, key).last_modified
    keep(ctx, key, bucket)
    ctx.uploads.write_reason(_reason_of(receipt, ended_at))
    return _logged("reason", repaired=True, upload_id=upload_id)


def _reason_of(receipt: Receipt, ended_at: datetime) -> Reason:
    is_erased = receipt.source.key == ERASED_KEY
    is_rejected = receipt.decision == "rejected"
    fault = ERASED_FAULT if is_erased else receipt.fault or LOST_REASON
    return Reason(
        upload_id=receipt.upload_id,
        task_id=receipt.task_id,
        error_code=fault.error_code,
        error_detail=fault.error_detail,
        status="rejected" if is_rejected and not is_erased else "failed",
        source=receipt.source,
        retries=receipt.retries,
        at=receipt.decided_at if is_rejected else ended_at,
    )


def _logged(kind: str, *, repaired: bool, **ids: str) -> bool:
    logger().error("document.damaged", kind=kind, repaired=repaired, **ids)
    return repaired


def _find(
    ctx: Context,
    prefix: str,
    kind: type[D],
    wanted: Callable[[D], bool],
) -> D | None:
    """Return the first document under a prefix that is wanted, and can be read."""
    bucket = ctx.settings.bucket_results
    for info in ctx.store.list(bucket, prefix):
        if not info.key.endswith(".json"):
            continue
        try:
            found = kind.from_bytes(ctx.store.read(bucket, info.key), info.key)
        except PermanentError:
            continue
        if wanted(found):
            return found
    return None


def _record_of(ctx: Context, receipt: Receipt) -> Record:
    """Return what receipt and result say of a restoration.

    Raises `NotFound` when there is no result, or not a whole one.
    """
    assert receipt.task_id is not None
    assert receipt.workflow is not None
    key = keys.result(receipt.task_id)
    with ctx.store.open(ctx.settings.bucket_results, key) as stream:
        info = stream.info
        digest = _digest(stream.chunks())
    if not _is_whole(info, digest):
        detail = f"{key}: {digest.size} bytes that are no whole result"
        raise NotFound(Code.BAD_DOCUMENT, detail)
    # The first chunk of a PNG begins with its size.
    width, height = struct.unpack(">II", digest.head[16:HEAD_BYTES])
    stored_at = info.last_modified
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
        result_key=key,
        result_sha256=digest.sha256,
        result_bytes=digest.size,
        attempts=1,
        queued_at=receipt.decided_at,
        started_at=stored_at,
        finished_at=stored_at,
        duration_seconds=0.0,
        queue_seconds=0.0,
        peak_memory_bytes=0,
        software=f"darkroom {__version__}",
        notes=[LOST],
        formats=receipt.formats,
        copies=_copies(ctx, receipt.task_id),
        credentials=_credentials(ctx, receipt.task_id, digest.sha256),
    )


def _copies(ctx: Context, task_id: str) -> list[Copy]:
    """The copies that are stored, as they say of themselves."""
    copies = []
    for info in ctx.store.list(ctx.settings.bucket_results, keys.copies(task_id)):
        said = ctx.store.head(info.bucket, info.key).metadata
        with suppress(ValidationError):
            copy = Copy.model_validate({"key": info.key, "bytes": info.bytes, **said})
            copies.append(copy)
    return copies


def _credentials(ctx: Context, task_id: str, sha256: str) -> Credentials | None:
    """Those that are stored, where they are of the result with this checksum."""
    with suppress(NotFound):
        key = keys.credentials(task_id)
        info = ctx.store.head(ctx.settings.bucket_results, key)
        found = Credentials.of_object(info)
        return found if found and found.result_sha256 == sha256 else None
    return None


def _is_whole(info: ObjectInfo, digest: _Digest) -> bool:
    """Return whether a result is a PNG, and what its metadata says that it is."""
    is_png = digest.head.startswith(PNG) and len(digest.head) == HEAD_BYTES
    size = info.metadata.get("bytes", str(digest.size))
    sha256 = info.metadata.get("sha256", digest.sha256)
    return is_png and size == str(digest.size) and sha256 == digest.sha256


def _digest(chunks: Iterator[bytes]) -> _Digest:
    digest = hashlib.sha256()
    size = 0
    head = b""
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        head = (head + chunk)[:HEAD_BYTES]
    return _Digest(digest.hexdigest(), size, head)


def _models(workflow: WorkflowRef) -> list[ModelRef]:
    """Return the models of a workflow, if this release still has it as it was."""
    try:
        resolved = workflows.resolve(workflow.name, workflow.params, workflow.version)
    except PermanentError:
        return []
    return resolved.models if resolved.ref.signature == workflow.signature else []
