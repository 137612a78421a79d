"""A decision is written down: the receipt and, for a rejected upload, its end."""

from __future__ import annotations

from handlers.context import Context
from handlers.intake import masks
from handlers.intake.decision import Decision
from handlers.intake.original import delete_original
from handlers.intake.publish import log_unpublished, publish
from shared.broker import topology
from shared.errors import BrokerUnavailable, Code, NotFound
from shared.runtime.failpoints import passing
from shared.uploads import events, keys
from shared.uploads.documents import Reason, Receipt, Refused, Superseded
from shared.uploads.messages import LogEvent
from shared.uploads.outcome import ERASED_KEY, SUPERSEDED_FAULT
from shared.uploads.quarantine import keep_copy

JSON = "application/json"

_NOT_COPIED = (Code.TOO_LARGE, Code.SOURCE_UNREADABLE)
"""Uploads rejected with these codes have no copy in quarantine."""


def persist(receipt: Receipt, ctx: Context) -> Decision:
    """Write the receipt and publish the decision, or return the one made before.

    The receipt comes before the message, so a crash between them leaves a receipt
    without a message, which the sweep finds.
    """
    if receipt.decision == "rejected":
        earlier = ctx.uploads.readable_receipt(receipt.upload_id)
        if earlier and _is_same_upload(earlier, receipt):
            return Decision.of(earlier, repeated=True)
        _quarantine(receipt, ctx)
    if receipt.decision == "held" and not _is_mask(receipt):
        # Before the receipt, so that none is held without a mark: it would not expire.
        ctx.uploads.hold(receipt.upload_id)
    passing("handler.before_receipt")
    if not ctx.uploads.write_new_receipt(receipt):
        repeated = _resolve_existing(receipt, ctx)
        if repeated:
            return repeated
    publish(receipt, ctx)
    return Decision.of(receipt)


def _is_mask(receipt: Receipt) -> bool:
    """Whether it is the mask of the photo beside it, which stays as that does."""
    assert receipt.workflow is not None
    return masks.is_beside(receipt.source.key, receipt.workflow)


def clear_refused(receipt: Receipt, ctx: Context) -> None:
    """Delete the object of a rejected upload that came by a ticket, whose sender could
    fill the bucket otherwise. May be repeated.

    Its reason stays. The object is deleted only where quarantine has a copy, or where
    it is too large for one.
    """
    source, settings = receipt.source, ctx.settings
    ticket = keys.ticket_of(source.key)
    if receipt.fault is None or ticket is None:
        return
    # The link leads to the receipt once the object is deleted.
    refused = Refused(upload_id=receipt.upload_id)
    link = keys.refused(ticket, receipt.upload_id)
    ctx.store.put(settings.bucket_results, link, refused.to_bytes(), JSON)
    if receipt.fault.error_code == Code.TOO_LARGE or _has_copy(receipt, ctx):
        delete_original(ctx, receipt, source.key)


def _has_copy(receipt: Receipt, ctx: Context) -> bool:
    source = receipt.source
    copy = keys.quarantined(receipt.upload_id, source.key, source.filename)
    try:
        ctx.store.head(ctx.settings.bucket_quarantine, copy)
    except NotFound:
        return False
    return True


def _quarantine(receipt: Receipt, ctx: Context) -> None:
    """Copy the object into quarantine, and write the reason, which ends the upload."""
    assert receipt.fault is not None
    if receipt.fault.error_code not in _NOT_COPIED:
        keep_copy(ctx.store, ctx.settings, receipt.upload_id, receipt.source)
    reason = Reason(
        upload_id=receipt.upload_id,
        status="rejected",
        error_code=receipt.fault.error_code,
        error_detail=receipt.fault.error_detail,
        source=receipt.source,
        at=receipt.decided_at,
    )
    ctx.uploads.write_reason(reason)


def _resolve_existing(receipt: Receipt, ctx: Context) -> Decision | None:
    """Compare with the receipt that is there. None: the new one takes its place, or is
    there already, and its decision is to be published.
    """
    # A receipt that cannot be read is written anew.
    earlier = ctx.uploads.readable_receipt(receipt.upload_id)
    if earlier == receipt:
        # The store wrote ours, answered with an error, and got the request again.
        return None
    if earlier and _is_same_upload(earlier, receipt):
        return Decision.of(earlier, repeated=True)
    if earlier:
        # The same bytes were put again at the same key: another upload with this id.
        _supersede(earlier, receipt, ctx)
    is_rejected = receipt.decision == "rejected"
    has_ended = ctx.uploads.reason_of(receipt.ref) is not None
    if not is_rejected and not has_ended:
        ctx.uploads.delete_reason(receipt.upload_id)
    ctx.uploads.write_receipt(receipt)
    if has_ended and not is_rejected:
        # Its receipt was damaged, and its end is known: there is nothing left to do.
        return Decision.of(receipt, repeated=True)
    return None


def _supersede(earlier: Receipt, later: Receipt, ctx: Context) -> None:
    """Keep the earlier receipt elsewhere, and publish the end of its upload if that
    still waits. Nothing else can, once `later` is written in its place.
    """
    ctx.uploads.write_receipt(Superseded.of(earlier))
    if earlier.decision != "queued" or ctx.uploads.readable_outcome(earlier):
        return
    event = _superseded_event(earlier, later, ctx.settings.bucket_results)
    try:
        ctx.publisher.publish(topology.LOG, event.encode())
    except BrokerUnavailable as error:
        log_unpublished(earlier, error)


def _superseded_event(earlier: Receipt, later: Receipt, bucket: str) -> LogEvent:
    if earlier.task_id == later.task_id:
        return events.of_duplicate(earlier, later.decided_at, bucket)
    reason = Reason(
        upload_id=earlier.upload_id,
        task_id=earlier.task_id,
        status="failed",
        error_code=SUPERSEDED_FAULT.error_code,
        error_detail=SUPERSEDED_FAULT.error_detail,
        source=earlier.source,
        retries=earlier.retries,
        at=later.decided_at,
    )
    return events.of_reason(reason)


def _is_same_upload(earlier: Receipt, receipt: Receipt) -> bool:
    """Return whether both are of one upload.

    Object times come in whole seconds, so what the sender asked for must be the same,
    too.
    """
    if _request_of(earlier) != _request_of(receipt):
        return False
    is_erased = ERASED_KEY in (earlier.source.key, receipt.source.key)
    # An erasure deletes the callback from the receipt.
    return is_erased or earlier.callback == receipt.callback


def _request_of(receipt: Receipt) -> tuple[object, ...]:
    signature = receipt.workflow.signature if receipt.workflow else None
    upload_time = receipt.source.upload_time
    return (
        upload_time,
        signature,
        receipt.user_hash,
        receipt.priority,
        receipt.formats,
        receipt.source.page,
    )
