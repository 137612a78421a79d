"""Trigger: an object was put into the uploads bucket → a decision, written down, and a
task for the workers.

The order of the effects is the design: the receipt (`put_new`) comes before the
message, so a crash between them leaves a receipt without a message, which the sweep
finds; a broker that is down costs a delay, never an upload. Any event may come twice,
late, or for an object that is gone: the receipt says what was decided before.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from handlers import erasure, metrics
from handlers.context import Context
from handlers.intake import upload_options
from handlers.intake.notifications import UploadEvent
from handlers.intake.probe import probe
from handlers.retelling import task_of
from shared import workflows
from shared.broker import topology
from shared.errors import (
    BrokerUnavailable,
    Code,
    DarkroomError,
    NotFound,
    ObjectUnreadable,
    PermanentError,
    TransientError,
)
from shared.runtime.failpoints import passing
from shared.runtime.telemetry import logger, raised_at
from shared.s3.store import ObjectInfo, ObjectStream
from shared.uploads import events, identity, keys
from shared.uploads.documents import Fault, Reason, Receipt, Refused, Source, Superseded
from shared.uploads.outcome import ERASED_KEY, SUPERSEDED_FAULT, WITHDRAWN
from shared.uploads.quarantine import keep_copy
from shared.uploads.ref import upload_id_of, version_of

JSON = "application/json"


@dataclass(frozen=True)
class Decision:
    """What became of one event. `repeated`: it was decided before, nothing was done
    now.
    """

    kind: Literal["queued", "duplicate", "rejected", "ignored"]
    upload_id: str | None = None
    task_id: str | None = None
    code: Code | None = None
    repeated: bool = False


def on_upload(event: UploadEvent, ctx: Context) -> Decision:
    """Decide on one upload. Raises `StorageUnavailable`: nothing was decided, the event
    must come again.

    Raises `ObjectUnreadable` where it is this object alone that the store does not
    give; whoever called need not wait for it: the sweep tries again, until that has
    lasted for too long and is the upload's end.
    """
    started = ctx.clock.monotonic()
    decision = _decide(event, ctx)
    seconds = ctx.clock.monotonic() - started
    name = "ignored" if decision.repeated else decision.kind
    metrics.UPLOADS.labels(decision=name).inc()
    metrics.UPLOAD_SECONDS.observe(seconds)
    logger().info(
        f"upload.{name}",
        upload_id=decision.upload_id,
        task_id=decision.task_id,
        decision=decision.kind,
        code=decision.code,
        repeated=decision.repeated,
        own_ms=round(seconds * 1000, 1),
    )
    return decision


def _decide(event: UploadEvent, ctx: Context) -> Decision:
    if event.bucket != ctx.settings.bucket_uploads:
        # whatever a door lets through: our own output never triggers us
        return Decision("ignored")
    try:
        with ctx.store.open(event.bucket, event.key, event.version) as stream:
            receipt = _examine(stream, ctx)
    except NotFound:
        return _gone(event, ctx)
    except ObjectUnreadable as error:
        if not _is_listed(event, ctx):
            # or never there, as at a key that this store cannot hold
            return _gone(event, ctx)
        receipt = _unreadable(event, error, ctx)
    except PermanentError as error:  # a key that this store cannot hold
        return Decision("ignored", code=error.code)
    if receipt.decision == "queued" and _restored_before(receipt, ctx):
        receipt = receipt.model_copy(update={"decision": "duplicate"})
    if receipt.decision == "queued" and ctx.settings.unavailable == "reject":
        receipt = _offered(receipt, ctx)
    decision = _settle(receipt, ctx)
    if decision.kind == receipt.decision == "rejected":
        _take_away(receipt, ctx)
    return decision


def _examine(stream: ObjectStream, ctx: Context) -> Receipt:
    """The decision about one object, not written yet. Whatever cannot be decided on is
    refused: it would never be.
    """
    try:
        return _judged(stream, ctx)
    except DarkroomError:
        raise
    except (OSError, MemoryError) as error:  # this machine's, not the photo's
        raise TransientError(
            Code.INTERNAL, f"{type(error).__name__} while an upload was looked at"
        ) from error
    except Exception as error:
        ident = upload_id_of(stream.info)
        logger().error(
            "upload.failed",
            upload_id=ident,
            error=type(error).__name__,
            where=raised_at(error),
        )
        fault = Fault(
            error_code=Code.INTERNAL,
            error_detail=f"it could not be looked at ({type(error).__name__})",
        )
        return _receipt_of(replace(stream.info, metadata={}), ctx).model_copy(
            update={"fault": fault}
        )


def _is_listed(event: UploadEvent, ctx: Context) -> bool:
    """Whether the store knows an object that it does not give; some refuse an
    impossible key in the same words.
    """
    with suppress(PermanentError):
        return any(
            info.key == event.key for info in ctx.store.list(event.bucket, event.key)
        )
    return False


def _unreadable(event: UploadEvent, error: ObjectUnreadable, ctx: Context) -> Receipt:
    """The end of an upload that the store has not given for long. Raises `error` before
    that.

    A scanner may be at it, a key may be given back: the sweep had at least a few looks
    at it by then.
    """
    info = _told(event, ctx)
    patience = timedelta(seconds=ctx.settings.lease_s + ctx.settings.retry_cap_s)
    if info is None or ctx.clock.now() - info.last_modified <= patience:
        raise error
    detail = f"{error.detail}; when that is mended, upload it again"
    receipt = _receipt_of(info, ctx).model_copy(
        update={"fault": Fault(error_code=error.code, error_detail=detail)}
    )
    with suppress(PermanentError):
        receipt = receipt.model_copy(
            update={"callback": upload_options.callback(info.metadata, ctx.settings)}
        )
    return receipt


def _told(event: UploadEvent, ctx: Context) -> ObjectInfo | None:
    """What is known of an object that cannot be read: its head, or what the event says."""
    try:
        return ctx.store.head(event.bucket, event.key, event.version)
    except (ObjectUnreadable, PermanentError):
        if event.event_time is None or not (event.version or event.etag):
            return None
    etag, size = event.etag or "", event.size or 0
    return ObjectInfo(
        event.bucket, event.key, etag, size, event.event_time, event.version
    )


def _receipt_of(info: ObjectInfo, ctx: Context) -> Receipt:
    """Before anything is known of the photo."""
    user = upload_options.user_hash(info.key, info.metadata, ctx.settings)
    return Receipt(
        upload_id=upload_id_of(info),
        decision="rejected",
        source=_source(info),
        priority="bulk",
        user_hash=user,
        lane=upload_options.lane(user, ctx.settings),
        decided_at=ctx.clock.now(),
    )


def _judged(stream: ObjectStream, ctx: Context) -> Receipt:
    info, settings = stream.info, ctx.settings
    receipt = _receipt_of(info, ctx)
    try:
        receipt = receipt.model_copy(
            update={"callback": upload_options.callback(info.metadata, settings)}
        )
        order = upload_options.order(info.key, info.metadata, settings)
        receipt = receipt.model_copy(
            update={"priority": order.priority, "workflow": order.workflow.ref}
        )
        probed = probe(stream.chunks(), settings, order.workflow.scale, info.bytes)
    except PermanentError as error:
        return receipt.model_copy(
            update={"fault": Fault(error_code=error.code, error_detail=error.detail)}
        )
    header = probed.header
    source = receipt.source.model_copy(
        update={
            "bytes": probed.bytes,
            "sha256": probed.sha256,
            "format": header.format,
            "width": header.width,
            "height": header.height,
            "mode": header.mode,
        }
    )
    task = identity.task_id(
        receipt.user_hash, probed.sha256, order.workflow.ref.signature
    )
    return receipt.model_copy(
        update={"decision": "queued", "source": source, "task_id": task}
    )


def _source(info: ObjectInfo) -> Source:
    return Source(
        bucket=info.bucket,
        key=info.key,
        version=version_of(info.version),
        etag=info.etag,
        bytes=info.bytes,
        upload_time=info.last_modified,
        filename=upload_options.filename(info.metadata),
    )


def _restored_before(receipt: Receipt, ctx: Context) -> bool:
    """Whether the task's result is there already, made for another upload, and stays.

    A damaged record proves nothing.
    """
    assert receipt.task_id is not None
    record = ctx.uploads.readable_record(receipt.task_id)
    if record is None or record.ref == receipt.ref:
        return False
    reason = ctx.uploads.reason_of(record.ref)
    return reason is None or reason.error_code not in WITHDRAWN


def _offered(receipt: Receipt, ctx: Context) -> Receipt:
    """Rejected where no worker can run it. What was restored before needs no worker any
    more.
    """
    assert receipt.workflow is not None
    assert receipt.task_id is not None
    try:
        ctx.offers.check(
            workflows.resolve(receipt.workflow.name, receipt.workflow.params)
        )
    except PermanentError as error:
        if not ctx.uploads.has_record(receipt.task_id):
            fault = Fault(error_code=error.code, error_detail=error.detail)
            return receipt.model_copy(
                update={"decision": "rejected", "fault": fault, "task_id": None}
            )
    return receipt


def _settle(receipt: Receipt, ctx: Context) -> Decision:
    """Write the decision down, then tell the others; or find that it was written down
    before.
    """
    rejected = receipt.decision == "rejected"
    if rejected:
        if earlier := _decided_before(receipt, ctx):
            return earlier
        _set_aside(receipt, ctx)
    passing("handler.before_receipt")
    is_new = ctx.uploads.write_new_receipt(receipt)
    if not is_new and (earlier := _again(receipt, ctx)):
        return earlier
    _publish(receipt, ctx)
    return _decision(receipt)


def _again(receipt: Receipt, ctx: Context) -> Decision | None:
    """Where the upload has a receipt by now: None when this one takes its place, and is
    to be told of.
    """
    # A receipt that cannot be read is written anew.
    earlier = ctx.uploads.readable_receipt(receipt.upload_id)
    if earlier == receipt:
        # ours: the store wrote it, answered with an error, and was asked again
        return None
    if earlier and _is_same(earlier, receipt):
        return _decision(earlier, repeated=True)
    # The same bytes were put again at the same key: another upload with the same id,
    # and its own end.
    if earlier:
        _supersede(earlier, receipt, ctx)
    ended = ctx.uploads.reason_of(receipt.ref) is not None
    if receipt.decision != "rejected" and not ended:
        ctx.uploads.delete_reason(receipt.upload_id)
    ctx.uploads.write_receipt(receipt)
    # Its receipt was damaged, and its end is known: nothing is to be done any more.
    return (
        _decision(receipt, repeated=True)
        if ended and receipt.decision != "rejected"
        else None
    )


def _supersede(earlier: Receipt, later: Receipt, ctx: Context) -> None:
    """Keep its receipt, and tell the log its end if it still waits: nobody else can,
    once another is written there.
    """
    ctx.uploads.write_receipt(Superseded.of(earlier))
    if earlier.decision != "queued" or ctx.uploads.readable_outcome(earlier):
        return
    if earlier.task_id == later.task_id:
        event = events.of_duplicate(
            earlier, later.decided_at, ctx.settings.bucket_results
        )
    else:
        event = events.of_reason(
            Reason(
                upload_id=earlier.upload_id,
                task_id=earlier.task_id,
                status="failed",
                error_code=SUPERSEDED_FAULT.error_code,
                error_detail=SUPERSEDED_FAULT.error_detail,
                source=earlier.source,
                retries=earlier.retries,
                at=later.decided_at,
            )
        )
    try:
        ctx.publisher.publish(topology.LOG, event.encode())
    except BrokerUnavailable as error:
        _untold(earlier, error)


def _decided_before(receipt: Receipt, ctx: Context) -> Decision | None:
    """The earlier decision on the same upload."""
    earlier = ctx.uploads.readable_receipt(receipt.upload_id)
    return (
        _decision(earlier, repeated=True)
        if earlier and _is_same(earlier, receipt)
        else None
    )


def _is_same(earlier: Receipt, receipt: Receipt) -> bool:
    """Whether both are of one upload: object times come in whole seconds, and all else
    is what its sender asked for.
    """
    return _asked(earlier, receipt) == _asked(receipt, earlier)


def _asked(receipt: Receipt, other: Receipt) -> tuple[object, ...]:
    # which took the callback away
    erased = ERASED_KEY in (receipt.source.key, other.source.key)
    asked = (
        receipt.source.upload_time,
        _signature(receipt),
        receipt.user_hash,
        receipt.priority,
    )
    return asked if erased else (*asked, receipt.callback)


def _signature(receipt: Receipt) -> str | None:
    return receipt.workflow.signature if receipt.workflow else None


def _decision(receipt: Receipt, repeated: bool = False) -> Decision:
    code = receipt.fault.error_code if receipt.fault else None
    return Decision(
        receipt.decision, receipt.upload_id, receipt.task_id, code, repeated
    )


def _set_aside(receipt: Receipt, ctx: Context) -> None:
    """Into the quarantine: a copy, made by the store itself, and the reason, which is
    the end of this upload.
    """
    assert receipt.fault is not None
    source = receipt.source
    if receipt.fault.error_code not in (Code.TOO_LARGE, Code.SOURCE_UNREADABLE):
        keep_copy(ctx.store, ctx.settings, receipt.upload_id, source)
    reason = Reason(
        upload_id=receipt.upload_id,
        status="rejected",
        error_code=receipt.fault.error_code,
        error_detail=receipt.fault.error_detail,
        source=source,
        at=receipt.decided_at,
    )
    ctx.uploads.write_reason(reason)


def _take_away(receipt: Receipt, ctx: Context) -> None:
    """What came by a ticket and was refused does not stay among the uploads, where its
    sender could fill the bucket.

    Its reason stands, and a copy of it lies in quarantine; else only what is too large
    goes. May be repeated.
    """
    source, settings = receipt.source, ctx.settings
    if receipt.fault is None or (ticket := keys.ticket_of(source.key)) is None:
        return
    # the way to the receipt, once the object is no more
    refused = Refused(upload_id=receipt.upload_id)
    link = keys.refused(ticket, receipt.upload_id)
    ctx.store.put(settings.bucket_results, link, refused.to_bytes(), JSON)
    if receipt.fault.error_code != Code.TOO_LARGE:
        try:
            copy = keys.quarantined(receipt.upload_id, source.key, source.filename)
            ctx.store.head(settings.bucket_quarantine, copy)
        except NotFound:
            return
    erasure.delete_original(ctx, receipt, source.key)


def _publish(receipt: Receipt, ctx: Context) -> None:
    """The task, then the log event. What the broker does not take is left to the sweep:
    the receipt is there.
    """
    try:
        if receipt.decision == "queued" and receipt.task_id:
            passing("handler.before_publish")
            ctx.publisher.publish(
                topology.restore_queue(receipt.priority, receipt.lane),
                task_of(receipt).encode(),
            )
            passing("handler.after_publish")
        events.tell(
            ctx.publisher,
            events.of_receipt(receipt, ctx.settings.bucket_results),
            receipt,
        )
    except BrokerUnavailable as error:
        _untold(receipt, error)


def _untold(receipt: Receipt, error: BrokerUnavailable) -> None:
    ids = {"upload_id": receipt.upload_id, "task_id": receipt.task_id}
    logger().warning("upload.unpublished", **ids, detail=error.detail)


def _gone(event: UploadEvent, ctx: Context) -> Decision:
    """The object was deleted before it was looked at. The log says so, unless the
    upload was decided on before.
    """
    revision = event.version or event.etag
    if revision is None or event.event_time is None:
        return Decision("ignored", code=Code.SOURCE_MISSING)
    receipt = Receipt(
        upload_id=identity.upload_id(event.bucket, event.key, revision),
        decision="rejected",
        priority="bulk",
        source=Source(
            bucket=event.bucket,
            key=event.key,
            version=event.version,
            etag=event.etag or "",
            bytes=event.size or 0,
            upload_time=event.event_time,
        ),
        user_hash=upload_options.user_hash(event.key, {}, ctx.settings),
        decided_at=ctx.clock.now(),
        fault=Fault(
            error_code=Code.SOURCE_MISSING,
            error_detail="the upload was deleted before it was looked at",
        ),
    )
    if ctx.uploads.receipt_info(receipt.upload_id) is None:
        _publish(receipt, ctx)
    return Decision("ignored", receipt.upload_id, code=Code.SOURCE_MISSING)
