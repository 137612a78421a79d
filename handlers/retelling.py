"""What the bucket knows of an upload: its documents, read, and told to the audit log once
more.
"""

from __future__ import annotations

from handlers.context import Context
from shared.uploads import events
from shared.uploads.documents import Receipt, Record
from shared.uploads.messages import LogEvent, RestoreTask
from shared.uploads.outcome import Outcome


def receipt_of(record: Record) -> Receipt:
    """The receipt of the upload that a record is of, as far as the record tells it."""
    return Receipt(
        upload_id=record.upload_id,
        decision="queued",
        source=record.source,
        user_hash=record.user_hash,
        priority="bulk",
        decided_at=record.queued_at,
        task_id=record.task_id,
        workflow=record.workflow,
    )


def task_of(receipt: Receipt) -> RestoreTask:
    """The message that calls a worker to what a receipt asks for."""
    assert receipt.task_id is not None
    return RestoreTask(
        task_id=receipt.task_id,
        upload_id=receipt.upload_id,
        priority=receipt.priority,
        queued_at=receipt.decided_at,
    )


def facts_of(ctx: Context, receipt: Receipt) -> list[LogEvent]:
    """The decision on an upload and, where there is one, its end.

    Raises `PermanentError(bad_document)`.
    """
    decided = events.of_receipt(receipt, ctx.settings.bucket_results)
    outcome = ctx.uploads.outcome(receipt)
    end = _end(ctx, receipt, outcome) if outcome else decided
    # A rejection is its own end, and so is a duplicate.
    return [decided] if end.event_id == decided.event_id else [decided, end]


def _end(ctx: Context, receipt: Receipt, outcome: Outcome) -> LogEvent:
    if outcome.reason:
        return events.of_reason(outcome.reason)
    if outcome.record is None:
        return events.of_receipt(receipt, ctx.settings.bucket_results)
    if outcome.status == "success":
        return events.of_record(outcome.record, ctx.settings.bucket_results)
    return events.of_duplicate(receipt, outcome.at, ctx.settings.bucket_results)
