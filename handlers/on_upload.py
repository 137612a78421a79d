"""Trigger: an object was put into the uploads bucket → a decision, written down, and a
task for the workers.

The order of the effects is the design: the receipt (`put_new`) comes before the
message, so a crash between them leaves a receipt without a message, which the sweep
finds; a broker that is down costs a delay, never an upload. Any event may come twice,
late, or for an object that is gone: the receipt says what was decided before.

`handlers.intake` has the steps: `examine` decides, `persist` writes, `publish` sends.
"""

from __future__ import annotations

from handlers import metrics
from handlers.context import Context
from handlers.intake.decision import Decision, DecisionKind
from handlers.intake.examine import (
    after_earlier_uploads,
    examine,
    is_listed,
    unreadable,
    vanished,
)
from handlers.intake.notifications import UploadEvent
from handlers.intake.persist import clear_refused, persist
from handlers.intake.publish import publish
from shared.errors import Code, NotFound, ObjectUnreadable, PermanentError
from shared.runtime import tracing
from shared.runtime.telemetry import logger

EVENTS: dict[DecisionKind, str] = {
    "queued": "upload.queued",
    "held": "upload.held",
    "duplicate": "upload.duplicate",
    "rejected": "upload.rejected",
    "ignored": "upload.ignored",
}


def on_upload(event: UploadEvent, ctx: Context) -> Decision:
    """Decide on one upload.

    Raises `StorageUnavailable`: nothing was decided, and the event must come again.
    Raises `ObjectUnreadable` where the store refuses this one object. Its event need
    not come again: the sweep tries until that has lasted for too long, which then ends
    the upload.
    """
    started_s = ctx.clock.monotonic()
    with tracing.span("upload"):
        decision = _decide(event, ctx)
    seconds = ctx.clock.monotonic() - started_s
    kind: DecisionKind = "ignored" if decision.repeated else decision.kind
    metrics.UPLOADS.labels(decision=kind).inc()
    metrics.UPLOAD_SECONDS.observe(seconds)
    logger().info(
        EVENTS[kind],
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
        # Whatever notifications are set up: our own output never triggers us.
        return Decision("ignored")
    try:
        with ctx.store.open(event.bucket, event.key, event.version) as stream:
            receipt = examine(stream, ctx)
    except NotFound:
        return _ignore_vanished(event, ctx)
    except ObjectUnreadable as error:
        if not is_listed(event, ctx):
            # Deleted; or never there, as at a key that this store cannot hold.
            return _ignore_vanished(event, ctx)
        receipt = unreadable(event, error, ctx)
    except PermanentError as error:
        # A key that this store cannot hold.
        return Decision("ignored", code=error.code)
    receipt = receipt.model_copy(update={"traceparent": tracing.traceparent()})
    if receipt.decision == "queued":
        receipt = after_earlier_uploads(receipt, ctx)
    decision = persist(receipt, ctx)
    if decision.kind == receipt.decision == "rejected":
        clear_refused(receipt, ctx)
    return decision


def _ignore_vanished(event: UploadEvent, ctx: Context) -> Decision:
    """Publish that the upload was deleted, unless it was decided on before."""
    receipt = vanished(event, ctx)
    if receipt is None:
        return Decision("ignored", code=Code.SOURCE_MISSING)
    if ctx.uploads.receipt_info(receipt.upload_id) is None:
        publish(receipt, ctx)
    return Decision("ignored", receipt.upload_id, code=Code.SOURCE_MISSING)
