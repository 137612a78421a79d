"""The content of a webhook: ids, status and links; no name, no address, no picture. All
else is behind the links, which need an API key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from handlers.context import Context
from shared.errors import NotFound
from shared.uploads import identity
from shared.uploads.documents import Receipt
from shared.uploads.identity import canonical_json
from shared.uploads.ingests import IngestCall, IngestStore
from shared.uploads.messages import Status
from shared.uploads.outcome import Outcome

TYPE = "task.finished"
INGEST_TYPE = "ingest.finished"


@dataclass(frozen=True)
class Call:
    """A webhook to send: `body` is the same bytes in every attempt."""

    url: str
    event_id: str
    user_hash: str
    upload_time: datetime
    status: Status
    body: bytes
    traceparent: str | None = None


def call_of(ctx: Context, upload_id: str) -> Call | None:
    """Return the webhook about an upload, or about a job of many, by what the bucket
    knows of it.

    None: it has not ended, or its sender wants none. Raises
    `PermanentError(bad_document)`, which the sweep repairs, and `StorageUnavailable`.
    """
    try:
        receipt = ctx.uploads.receipt(upload_id)
    except NotFound:
        return _call_of_ingest(ctx, upload_id)  # or it was erased
    if receipt.callback is None:
        return None
    outcome = ctx.uploads.outcome(receipt)
    if outcome is None:
        return None
    return Call(
        url=receipt.callback,
        event_id=_event_id(receipt, outcome.published_status),
        user_hash=receipt.user_hash,
        upload_time=receipt.source.upload_time,
        status=outcome.published_status,
        body=_body(ctx.settings.api_url, receipt, outcome),
        traceparent=receipt.traceparent,
    )


def receiver_of(ctx: Context, upload_id: str) -> tuple[str, str] | None:
    """Return the URL that is to be called about an upload, or about a job of many, and
    its owner's pseudonym. None: none is.
    """
    try:
        receipt = ctx.uploads.receipt(upload_id)
    except NotFound:
        call = _ingest_call(ctx, upload_id)
        return (call.url, call.user_hash) if call else None
    return (receipt.callback, receipt.user_hash) if receipt.callback else None


def sample(api_url: str, at: datetime) -> bytes:
    """Return what `darkroom webhooks test` sends: the shape of a webhook, about no
    upload.
    """
    ident = "00000000-0000-0000-0000-000000000000"
    data = {
        "task_id": ident,
        "upload_id": ident,
        "status": "success",
        "width": 4,
        "height": 4,
        "links": _links(api_url, ident),
    }
    return canonical_json(_message("webhook.test", at, data))


def _ingest_call(ctx: Context, job: str) -> IngestCall | None:
    return IngestStore(ctx.store, ctx.settings.bucket_results).call(job)


def _call_of_ingest(ctx: Context, job: str) -> Call | None:
    found = _ingest_call(ctx, job)
    if found is None or found.finished_at is None:
        return None
    where = f"{ctx.settings.api_url}/v1/ingests/{job}"
    data = {
        "job": job,
        "counts": found.counts,
        "links": {
            "ingest": where,
            "items": f"{where}/items",
            "results": f"{where}/results",
            "report": f"{where}/report",
        },
    }
    return Call(
        url=found.url,
        event_id=identity.event_id(job, INGEST_TYPE),
        user_hash=found.user_hash,
        upload_time=found.begun_at,
        status="success",
        body=canonical_json(_message(INGEST_TYPE, found.finished_at, data)),
    )


def _event_id(receipt: Receipt, status: Status) -> str:
    parts = [receipt.source.upload_time.isoformat(), status]
    if receipt.retries:
        # After a fresh start the photo ends once more, which is another webhook.
        parts.append(f"retry {receipt.retries}")
    return identity.event_id(receipt.upload_id, "callback", *parts)


def _body(api_url: str, receipt: Receipt, outcome: Outcome) -> bytes:
    data: dict[str, Any] = {
        "upload_id": receipt.upload_id,
        "status": outcome.published_status,
    }
    if receipt.task_id:
        data["task_id"] = receipt.task_id
    if outcome.fault:
        data["error"] = {"code": outcome.fault.error_code}
    record = outcome.record
    if record:
        data["width"] = record.width
        data["height"] = record.height
        data["links"] = _links(api_url, record.task_id)
    return canonical_json(_message(TYPE, outcome.at, data))


def _message(kind: str, at: datetime, data: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "timestamp": at.isoformat(), "data": data}


def _links(api_url: str, task_id: str) -> dict[str, str]:
    task = f"{api_url}/v1/tasks/{task_id}"
    return {
        "task": task,
        "result": f"{task}/result",
        "preview": f"{task}/preview",
        "record": f"{task}/record",
    }
