"""Facts about an upload, as log events, built from the documents in the buckets.

The handler, the worker and the rebuild all derive the same event from the same
document, so that the audit log can be written twice, late, in any order, or again from
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from shared.broker import topology
from shared.errors import Code
from shared.runtime import tracing
from shared.uploads import identity, keys
from shared.uploads.documents import Reason, Receipt, Record, Source, WorkflowRef
from shared.uploads.messages import CallbackDue, LogEvent, Status
from shared.uploads.outcome import Outcome

MAX_FILENAME = (255, 512)
MAX_DETAIL = (400, 480)
"""Most characters, and most bytes as JSON: both together leave room for all other
fields in a message of 2 KiB.
"""

MAX_BECAUSE = (100, 120)
"""The same for each of the few sentences that say why a step was skipped."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Publisher(Protocol):
    def publish(
        self, queue: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None: ...


def publish_event(publisher: Publisher, event: LogEvent, receipt: Receipt) -> None:
    """Publish an event for the audit log and, at the end of an upload whose sender asked
    for a webhook, a request for that.

    The audit log has no previews. Raises `BrokerUnavailable`.
    """
    if receipt.preview:
        return
    headers = tracing.headers(receipt.traceparent)
    publisher.publish(topology.LOG, event.encode(), headers)
    if receipt.callback and event.kind not in ("queued", "processing"):
        due = CallbackDue(upload_id=receipt.upload_id)
        publisher.publish(topology.CALLBACKS, due.encode(), headers)


def of_upload(
    receipt: Receipt, outcome: Outcome | None, results_bucket: str
) -> list[LogEvent]:
    """The decision on an upload and, where it has an outcome by now, its end.

    One that waits for its start has none yet: the audit log knows its runs.
    """
    if receipt.decision == "held":
        reason = outcome.reason if outcome else None
        return [of_withdrawal(receipt, reason)] if reason else []
    decided = of_receipt(receipt, results_bucket)
    end = _end(receipt, outcome, results_bucket) if outcome else decided
    # A rejection is its own end, and so is a duplicate.
    return [decided] if end.event_id == decided.event_id else [decided, end]


def _end(receipt: Receipt, outcome: Outcome, results_bucket: str) -> LogEvent:
    if outcome.reason:
        return of_reason(outcome.reason)
    if outcome.record is None:
        return of_receipt(receipt, results_bucket)
    if outcome.status == "success":
        return of_record(outcome.record, results_bucket)
    return of_duplicate(receipt, outcome.at, results_bucket)


def of_receipt(receipt: Receipt, results_bucket: str) -> LogEvent:
    """`queued`, `duplicate` or `rejected`: what the handler decided. The audit log has
    no upload that waits for its start.
    """
    assert receipt.decision != "held"
    fields = {
        "user_id": receipt.user_hash,
        **_source(receipt.source),
        **_workflow(receipt.workflow),
        "ingest_id": str(receipt.ingest.job) if receipt.ingest else None,
    }
    if receipt.fault:
        fields |= _fault(receipt.fault.error_code, receipt.fault.error_detail)
    if receipt.decision == "duplicate" and receipt.task_id:
        fields["result_url"] = _url(results_bucket, receipt.task_id)
    at = receipt.retried_at or receipt.decided_at
    return _event(
        receipt.decision,
        receipt.upload_id,
        receipt.source,
        receipt.task_id,
        at,
        fields,
        receipt.retries,
    )


def of_processing(receipt: Receipt, attempt: int, at: datetime) -> LogEvent:
    """`processing`: attempt number `attempt` (1-based) has begun."""
    fields = {"attempts": attempt}
    about = receipt.upload_id, receipt.source, receipt.task_id
    return _event("processing", *about, at, fields, receipt.retries, str(attempt))


def of_record(record: Record, results_bucket: str) -> LogEvent:
    """`success`: the result and its record are stored."""
    fields = {
        "user_id": record.user_hash,
        **_source(record.source),
        **_workflow(record.workflow),
        "result_url": _url(results_bucket, record.task_id),
        "duration_seconds": record.duration_seconds,
        "queue_seconds": record.queue_seconds,
        "attempts": record.attempts,
        "engine": record.engine,
        "device": record.device,
        "peak_memory_bytes": record.peak_memory_bytes,
        "peak_device_memory_bytes": record.peak_device_memory_bytes,
        "tile_px": _tile_px(record.tile),
        "concurrency": record.concurrency,
        "skipped": _skipped(record),
    }
    return _event(
        "success",
        record.upload_id,
        record.source,
        record.task_id,
        record.finished_at,
        fields,
    )


def _skipped(record: Record) -> dict[str, str] | None:
    """Why steps were left out, by step; None: none was."""
    found = {step.step: step.skipped.because for step in record.steps if step.skipped}
    return {name: _fitted(text, MAX_BECAUSE) for name, text in found.items()} or None


def of_duplicate(receipt: Receipt, at: datetime, results_bucket: str) -> LogEvent:
    """`duplicate`: another upload of the same task was restored first; this one shares
    its result.
    """
    assert receipt.task_id is not None
    fields = {"result_url": _url(results_bucket, receipt.task_id)}
    return _event(
        "duplicate", receipt.upload_id, receipt.source, receipt.task_id, at, fields
    )


def of_withdrawal(receipt: Receipt, reason: Reason) -> LogEvent:
    """`failed`: the upload was taken back. Of one that waited for its start it is the
    only event, so it says whose that was.
    """
    event = of_reason(reason)
    if receipt.decision != "held":
        return event
    fields = event.fields | {"user_id": receipt.user_hash}
    fields.pop("image_filename")
    return event.model_copy(update={"fields": fields})


def of_reason(reason: Reason) -> LogEvent:
    """`rejected` or `failed`: the upload ended without a result."""
    fields = {
        **_source(reason.source),
        **_fault(reason.error_code, reason.error_detail),
        "engine": reason.engine,
        "device": reason.device,
        "peak_memory_bytes": reason.peak_memory_bytes,
        "peak_device_memory_bytes": reason.peak_device_memory_bytes,
        "duration_seconds": reason.duration_seconds,
        "queue_seconds": reason.queue_seconds,
        "tile_px": _tile_px(reason.tile or {}),
        "concurrency": reason.concurrency,
    }
    if reason.attempts:
        fields["attempts"] = reason.attempts
    # The erasure of a photo that had failed before is a fact of its own.
    own = ("erased",) if reason.error_code == Code.ERASED else ()
    return _event(
        reason.status,
        reason.upload_id,
        reason.source,
        reason.task_id,
        reason.at,
        fields,
        reason.retries,
        *own,
    )


def _event(
    kind: Status,
    upload_id: str,
    source: Source,
    task_id: str | None,
    at: datetime,
    fields: dict[str, Any],
    retries: int = 0,
    *parts: str,
) -> LogEvent:
    # The upload time is part of the identity: the same bytes put again at the same key
    # are another upload. So is the number of retries: a photo that fails a second time
    # has failed twice.
    if retries:
        parts, fields = (*parts, f"retry {retries}"), fields | {"retries": retries}
    ident = identity.event_id(upload_id, kind, source.upload_time.isoformat(), *parts)
    return LogEvent(
        event_id=ident,
        upload_id=upload_id,
        upload_time=source.upload_time,
        task_id=task_id,
        kind=kind,
        at=at,
        fields={k: v for k, v in fields.items() if v is not None},
    )


def _source(source: Source) -> dict[str, Any]:
    return {
        "image_filename": _fitted(
            source.filename or keys.filename(source.key), MAX_FILENAME
        ),
        "bytes": source.bytes,
        "width": source.width,
        "height": source.height,
        "sha256": source.sha256,
    }


def _workflow(workflow: WorkflowRef | None) -> dict[str, Any]:
    if workflow is None:
        return {}
    return {
        "workflow_type": workflow.name,
        "workflow_version": workflow.version,
        "params": workflow.params,
        "model_size": workflow.params.get("model_size"),
        "scale": workflow.params.get("scale"),
        "signature": workflow.signature,
    }


def _tile_px(tile: dict[str, Any]) -> int | None:
    """The side of a photo's tiles; where memory was short, of the smallest one tried."""
    sides = [step[side] for step in tile.get("ladder", ()) for side in step]
    return min(sides, default=max(tile.get("window_px", ()), default=None))


def _fault(code: str, detail: str) -> dict[str, Any]:
    return {"error_code": code, "error_detail": _fitted(detail, MAX_DETAIL)}


def _fitted(text: str, limits: tuple[int, int]) -> str:
    """Within the limits, and without characters that a database refuses or a terminal
    obeys.
    """
    most_characters, most_bytes = limits
    text = _CONTROLS.sub("\ufffd", text)
    kept = text[:most_characters]
    while len(identity.canonical_json(kept)) > most_bytes:
        shorter = len(kept) * 7 // 8
        kept = kept[:shorter]
    if kept == text:
        return text
    return kept[:-1] + "…"


def _url(bucket: str, task_id: str) -> str:
    return f"s3://{bucket}/{keys.result(task_id)}"
