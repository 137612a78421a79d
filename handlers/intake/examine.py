"""From a storage event to the receipt of the upload, not written yet."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from handlers.context import Context
from handlers.intake import masks, upload_options
from handlers.intake.notifications import UploadEvent
from handlers.intake.probe import Probed, probe
from shared import workflows
from shared.errors import (
    Code,
    DarkroomError,
    ObjectUnreadable,
    PermanentError,
    TransientError,
)
from shared.runtime.telemetry import logger, raised_at
from shared.s3.store import ObjectInfo, ObjectStream
from shared.uploads import identity
from shared.uploads.documents import Fault, Receipt, Source
from shared.uploads.outcome import WITHDRAWN
from shared.uploads.ref import upload_id_of, version_of
from shared.workflows import ResolvedWorkflow


def examine(stream: ObjectStream, ctx: Context) -> Receipt:
    """Decide on one object.

    An object that meets a bug is rejected: the same bug would meet it again each time.
    Raises `TransientError`.
    """
    try:
        return _examined(stream, ctx)
    except DarkroomError:
        raise
    except (OSError, MemoryError) as error:
        # The fault is this machine's, not the photo's.
        detail = f"{type(error).__name__} while an upload was looked at"
        raise TransientError(Code.INTERNAL, detail) from error
    except Exception as error:
        logger().error(
            "upload.failed",
            upload_id=upload_id_of(stream.info),
            error=type(error).__name__,
            where=raised_at(error),
        )
        detail = f"it could not be looked at ({type(error).__name__})"
        # Perhaps it was the metadata that met the bug.
        without_metadata = replace(stream.info, metadata={})
        return _rejected(_first_receipt(without_metadata, ctx), Code.INTERNAL, detail)


def after_earlier_uploads(receipt: Receipt, ctx: Context) -> Receipt:
    """Decide on a queued upload by what there is beside it: the result that it asks for,
    and workers that can make it.
    """
    if is_restored(receipt, ctx):
        return receipt.model_copy(update={"decision": "duplicate"})
    if ctx.settings.unavailable == "reject":
        return _unless_unavailable(receipt, ctx)
    return receipt


def unreadable(event: UploadEvent, error: ObjectUnreadable, ctx: Context) -> Receipt:
    """Reject an upload that the store has refused to read for long.

    Before that `error` is raised, and the sweep tries again: a virus scanner may have
    the object locked, or an encryption key may come back.
    """
    info = _known_info(event, ctx)
    settings = ctx.settings
    longest = timedelta(seconds=settings.lease_s + settings.retry_cap_s)
    if info is None or ctx.clock.now() - info.last_modified <= longest:
        raise error
    detail = f"{error.detail}; when that is mended, upload it again"
    receipt = _rejected(_first_receipt(info, ctx), error.code, detail)
    with suppress(PermanentError):
        callback = upload_options.callback(info.metadata, settings)
        receipt = receipt.model_copy(update={"callback": callback})
    return receipt


def vanished(event: UploadEvent, ctx: Context) -> Receipt | None:
    """The receipt of an upload that was deleted before it was looked at. None: the event
    does not say which upload that was.
    """
    revision = event.version or event.etag
    if revision is None or event.event_time is None:
        return None
    return Receipt(
        upload_id=identity.upload_id(event.bucket, event.key, revision),
        decision="rejected",
        priority="bulk",
        source=_source_of_event(event, event.event_time),
        user_hash=upload_options.user_hash(event.key, {}, ctx.settings),
        decided_at=ctx.clock.now(),
        fault=Fault(
            error_code=Code.SOURCE_MISSING,
            error_detail="the upload was deleted before it was looked at",
        ),
    )


def is_listed(event: UploadEvent, ctx: Context) -> bool:
    """Return whether the store lists an object that it refuses to read.

    Some stores refuse a key that they cannot hold in the same words.
    """
    with suppress(PermanentError):
        listed = ctx.store.list(event.bucket, event.key)
        return any(info.key == event.key for info in listed)
    return False


def _examined(stream: ObjectStream, ctx: Context) -> Receipt:
    info, settings = stream.info, ctx.settings
    receipt = _first_receipt(info, ctx)
    try:
        callback = upload_options.callback(info.metadata, settings)
        receipt = receipt.model_copy(update={"callback": callback})
        order = upload_options.order(info.key, info.metadata, settings)
        workflow, mask = _with_mask(order.workflow, info, receipt.user_hash, ctx)
        receipt = receipt.model_copy(
            update={
                "priority": order.priority,
                "workflow": workflow.ref,
                "formats": order.formats,
                "mask": mask,
                "source": receipt.source.of_page(order.page).told(
                    upload_options.captions(info.key, info.metadata)
                ),
            }
        )
        allowed = upload_options.limits(
            info.metadata, receipt.user_hash, receipt.ingest is not None, settings
        )
        probed = probe(stream.chunks(), allowed, workflow.scale, info.bytes, order.page)
    except PermanentError as error:
        return _rejected(receipt, error.code, error.detail)
    receipt = receipt.model_copy(
        update={"source": _with_header(receipt.source, probed)}
    )
    if not order.start or masks.is_beside(info.key, workflow.ref):
        return receipt.model_copy(update={"decision": "held"})
    task_id = identity.task_id(
        receipt.user_hash,
        probed.sha256,
        workflow.ref.signature,
        receipt.formats,
        order.page,
        receipt.source.captions,
    )
    return receipt.model_copy(update={"decision": "queued", "task_id": task_id})


def _with_mask(
    workflow: ResolvedWorkflow, info: ObjectInfo, user_hash: str, ctx: Context
) -> masks.Fixed:
    """The workflow with the mask that the photo's sender named, or put beside it."""
    if masks.is_beside(info.key, workflow.ref):
        return workflow, None
    if workflow.ref.params.get("mask"):
        return masks.fixed(ctx, workflow, user_hash)
    return masks.beside(ctx, workflow, info, user_hash)


def _first_receipt(info: ObjectInfo, ctx: Context) -> Receipt:
    """The receipt as far as the store's headers go."""
    user = upload_options.user_hash(info.key, info.metadata, ctx.settings)
    return Receipt(
        upload_id=upload_id_of(info),
        decision="rejected",
        source=_source_of_object(info),
        priority="bulk",
        user_hash=user,
        lane=upload_options.lane(user, ctx.settings),
        decided_at=ctx.clock.now(),
        ingest=upload_options.ingest(info.metadata),
    )


def _rejected(receipt: Receipt, code: Code, detail: str) -> Receipt:
    fault = Fault(error_code=code, error_detail=detail)
    return receipt.model_copy(update={"decision": "rejected", "fault": fault})


def _source_of_object(info: ObjectInfo) -> Source:
    return Source(
        bucket=info.bucket,
        key=info.key,
        version=version_of(info.version),
        etag=info.etag,
        bytes=info.bytes,
        upload_time=info.last_modified,
        filename=upload_options.filename(info.metadata),
    )


def _source_of_event(event: UploadEvent, upload_time: datetime) -> Source:
    return Source(
        bucket=event.bucket,
        key=event.key,
        version=event.version,
        etag=event.etag or "",
        bytes=event.size or 0,
        upload_time=upload_time,
    )


def _with_header(source: Source, probed: Probed) -> Source:
    header = probed.header
    return source.model_copy(
        update={
            "bytes": probed.bytes,
            "sha256": probed.sha256,
            "format": header.format,
            "width": header.width,
            "height": header.height,
            "mode": header.mode,
        }
    )


def _known_info(event: UploadEvent, ctx: Context) -> ObjectInfo | None:
    """What is known of an object that cannot be read: its HEAD, else the event."""
    try:
        return ctx.store.head(event.bucket, event.key, event.version)
    except (ObjectUnreadable, PermanentError):
        if event.event_time is None or not (event.version or event.etag):
            return None
    return ObjectInfo(
        bucket=event.bucket,
        key=event.key,
        etag=event.etag or "",
        bytes=event.size or 0,
        last_modified=event.event_time,
        version=event.version,
    )


def is_restored(receipt: Receipt, ctx: Context) -> bool:
    """Return whether the task's result is there, made for another upload that its owner
    did not take back. A damaged record proves nothing.
    """
    assert receipt.task_id is not None
    record = ctx.uploads.readable_record(receipt.task_id)
    if record is None or record.ref == receipt.ref:
        return False
    reason = ctx.uploads.reason_of(record.ref)
    return reason is None or reason.error_code not in WITHDRAWN


def _unless_unavailable(receipt: Receipt, ctx: Context) -> Receipt:
    """Reject an upload whose workflow no worker can run, unless its result is there."""
    assert receipt.workflow is not None
    assert receipt.task_id is not None
    wanted = receipt.workflow
    try:
        ctx.offers.check(workflows.resolve(wanted.name, wanted.params, wanted.version))
    except PermanentError as error:
        if not ctx.uploads.has_record(receipt.task_id):
            rejected = _rejected(receipt, error.code, error.detail)
            return rejected.model_copy(update={"task_id": None})
    return receipt
