"""What the bucket knows of an upload: its documents, read, and told to the audit log once
more.
"""

from __future__ import annotations

from contextlib import suppress

from handlers.context import Context
from shared.errors import NotFound, PermanentError
from shared.uploads import events, keys
from shared.uploads.cancellation import ERASED
from shared.uploads.documents import Reason, Receipt, Record, Superseded
from shared.uploads.messages import LogEvent, RestoreTask


def read_receipt(ctx: Context, upload_id: str) -> Receipt:
    """Raises `NotFound`, or `PermanentError(bad_document)`."""
    key = keys.receipt(upload_id)
    return Receipt.from_bytes(ctx.store.read(ctx.settings.bucket_results, key), key)


def read_earlier(ctx: Context, upload_id: str) -> list[Superseded]:
    """The receipts that this upload's took the place of. What cannot be read is left
    out.
    """
    found = []
    for info in list(
        ctx.store.list(ctx.settings.bucket_results, keys.earlier(upload_id))
    ):
        with suppress(PermanentError):
            found.append(
                Superseded.from_bytes(ctx.store.read(info.bucket, info.key), info.key)
            )
    return found


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


def read_record(ctx: Context, task_id: str) -> Record:
    """Raises `NotFound`, or `PermanentError(bad_document)`."""
    key = keys.record(task_id)
    return Record.from_bytes(ctx.store.read(ctx.settings.bucket_results, key), key)


def read_reason(ctx: Context, upload_id: str) -> Reason:
    """Raises `NotFound`, or `PermanentError(bad_document)`."""
    key = keys.reason(upload_id)
    return Reason.from_bytes(ctx.store.read(ctx.settings.bucket_quarantine, key), key)


def write_again(ctx: Context, receipt: Receipt) -> None:
    """The same receipt, with a new age: the sweep looks at it as at a new one."""
    ctx.store.put(
        ctx.settings.bucket_results,
        receipt.place(),
        receipt.to_bytes(),
        "application/json",
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
    """The decision on an upload and, where there is one, its end. Raises
    `PermanentError(bad_document)`.
    """
    bucket = ctx.settings.bucket_results
    decided = events.of_receipt(receipt, bucket)
    # What shares a result has its end with the decision; but an owner may take that
    # away.
    end = (
        _end(ctx, receipt, bucket)
        if receipt.decision != "duplicate" or receipt.source.key == ERASED
        else None
    )
    return (
        [decided] if end is None or end.event_id == decided.event_id else [decided, end]
    )


def _end(ctx: Context, receipt: Receipt, bucket: str) -> LogEvent | None:
    try:
        if receipt.decision == "queued" and receipt.task_id:
            record = read_record(ctx, receipt.task_id)
            failed = failed_before(ctx, receipt, record)
            return (
                events.of_reason(failed) if failed else of_done(receipt, record, bucket)
            )
    except NotFound:
        pass
    try:
        return events.of_reason(read_reason(ctx, receipt.upload_id))
    except NotFound:
        return None


def failed_before(ctx: Context, receipt: Receipt, record: Record) -> Reason | None:
    """Why an upload had its end before `record`, which is of its task, was made for
    another upload.
    """
    return None if record.is_of(receipt) else reason_of(ctx, receipt)


def reason_of(ctx: Context, receipt: Receipt) -> Reason | None:
    """Why this very upload ended without a result, if it did. Raises
    `PermanentError(bad_document)`.
    """
    try:
        reason = read_reason(ctx, receipt.upload_id)
    except NotFound:
        return None
    return reason if reason.source.upload_time == receipt.source.upload_time else None


def of_done(receipt: Receipt, record: Record, bucket: str) -> LogEvent:
    """The end of an upload whose task has a record: made for it, or shared with the
    upload that it was made for.
    """
    if record.is_of(receipt):
        return events.of_record(record, bucket)
    return events.of_duplicate(receipt, record.finished_at, bucket)
