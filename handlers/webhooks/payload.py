"""What a callback says: ids, status and links. No name, no address, no picture; who
wants more asks with a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from handlers.context import Context
from handlers.retelling import failed_before, read_receipt, read_record, reason_of
from shared.errors import Code, NotFound
from shared.uploads import identity
from shared.uploads.documents import Receipt, Record
from shared.uploads.identity import canonical_json
from shared.uploads.messages import Status

TYPE = "task.finished"


@dataclass(frozen=True)
class Call:
    """A call to make: `body` is the same bytes in every try."""

    url: str
    event_id: str
    user_hash: str
    upload_time: datetime
    status: Status
    body: bytes


@dataclass(frozen=True)
class _End:
    status: Status
    at: datetime
    record: Record | None = None
    code: Code | None = None


def call_of(ctx: Context, upload_id: str) -> Call | None:
    """The call that is due about an upload, as the bucket tells it. None: it has not
    ended, or nobody asked.

    Raises `PermanentError(bad_document)`, which the sweep repairs, and
    `StorageUnavailable`.
    """
    try:
        receipt = read_receipt(ctx, upload_id)
    except NotFound:
        return None  # erased
    end = _end(ctx, receipt) if receipt.callback else None
    if end is None or receipt.callback is None:
        return None
    moment = receipt.source.upload_time
    # A photo that a person gave a fresh start ends once more, and that is another call.
    again = [f"retry {receipt.retries}"] if receipt.retries else []
    ident = identity.event_id(
        upload_id, "callback", moment.isoformat(), end.status, *again
    )
    body = _body(ctx.settings.api_url, receipt, end)
    return Call(receipt.callback, ident, receipt.user_hash, moment, end.status, body)


def sample(api_url: str, at: datetime) -> bytes:
    """What `darkroom webhooks test` sends: the shape of a call, about nothing."""
    nothing = "00000000-0000-0000-0000-000000000000"
    data = {
        "task_id": nothing,
        "upload_id": nothing,
        "status": "success",
        "width": 4,
        "height": 4,
    }
    return canonical_json(
        _message("webhook.test", at, data | {"links": _links(api_url, nothing)})
    )


def _end(ctx: Context, receipt: Receipt) -> _End | None:
    if receipt.decision == "rejected":
        return _End(
            "rejected",
            receipt.decided_at,
            code=receipt.fault.error_code if receipt.fault else None,
        )
    try:
        if receipt.task_id:
            record = read_record(ctx, receipt.task_id)
            if failed := failed_before(ctx, receipt, record):
                return _End(failed.status, failed.at, code=failed.error_code)
            return _End(
                "success" if record.is_of(receipt) else "duplicate",
                record.finished_at,
                record,
            )
    except NotFound:
        pass
    reason = reason_of(ctx, receipt)
    return _End(reason.status, reason.at, code=reason.error_code) if reason else None


def _body(api_url: str, receipt: Receipt, end: _End) -> bytes:
    data: dict[str, Any] = {"upload_id": receipt.upload_id, "status": end.status}
    if receipt.task_id:
        data["task_id"] = receipt.task_id
    if end.code:
        data["error"] = {"code": end.code}
    if end.record:
        data |= {"width": end.record.width, "height": end.record.height}
        data["links"] = _links(api_url, end.record.task_id)
    return canonical_json(_message(TYPE, end.at, data))


def _message(kind: str, at: datetime, data: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "timestamp": at.isoformat(), "data": data}


def _links(api_url: str, task_id: str) -> dict[str, str]:
    base = f"{api_url}/v1/tasks/{task_id}"
    return {"task": base} | {
        name: f"{base}/{name}" for name in ("result", "preview", "record")
    }
