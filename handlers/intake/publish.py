"""A decision is published: the task for the workers, and the event for the audit log."""

from __future__ import annotations

from handlers.context import Context
from shared.broker import topology
from shared.errors import BrokerUnavailable
from shared.runtime import tracing
from shared.runtime.failpoints import passing
from shared.runtime.telemetry import logger
from shared.uploads import events
from shared.uploads.documents import Receipt


def publish(receipt: Receipt, ctx: Context) -> None:
    """Publish the task, then the log event. Of an upload that waits for its start
    there is nothing to publish.

    While the broker is down both are left to the sweep, which finds the receipt.
    """
    if receipt.decision == "held":
        return
    decided = events.of_receipt(receipt, ctx.settings.bucket_results)
    try:
        if receipt.decision == "queued" and receipt.task_id:
            _publish_task(receipt, ctx)
        events.publish_event(ctx.publisher, decided, receipt)
    except BrokerUnavailable as error:
        log_unpublished(receipt, error)


def publish_task(receipt: Receipt, ctx: Context) -> None:
    """Publish the task alone: the log event was published before."""
    try:
        _publish_task(receipt, ctx)
    except BrokerUnavailable as error:
        log_unpublished(receipt, error)


def log_unpublished(receipt: Receipt, error: BrokerUnavailable) -> None:
    """Log that the broker did not take what was to be published about an upload."""
    logger().warning(
        "upload.unpublished",
        upload_id=receipt.upload_id,
        task_id=receipt.task_id,
        detail=error.detail,
    )


def _publish_task(receipt: Receipt, ctx: Context) -> None:
    passing("handler.before_publish")
    queue = topology.restore_queue(receipt.priority, receipt.lane)
    headers = tracing.headers(receipt.traceparent)
    ctx.publisher.publish(queue, receipt.restore_task.encode(), headers)
    passing("handler.after_publish")
