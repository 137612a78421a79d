"""What a callback says: ids, status and links. No name, no address, no picture; who
wants more asks with a key.
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
from shared.uploads.messages import Status
from shared.uploads.outcome import Outcome

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


def call_of(ctx: Context, upload_id: str) -> Call | None:
    """The call that is due about an upload, as the bucket tells it. None: it has not
    ended, or nobody asked.

    Raises `PermanentError(bad_document)`, which the sweep repairs, and
    `StorageUnavailable`.
    """
    try:
        receipt = ctx.uploads.receipt(upload_id)
    except NotFound:
        return None  # erased
    outcome = ctx.uploads.outcome(receipt) if receipt.callback else None
    if outcome is None or receipt.callback is None:
        return None
    status = outcome.published_status
    moment = receipt.source.upload_time
    # A photo that a person gave a fresh start ends once more, and that is another call.
    again = [f"retry {receipt.retries}"] if receipt.retries else []
    ident = identity.event_id(upload_id, "callback", moment.isoformat(), status, *again)
    body = _body(ctx.settings.api_url, receipt, outcome)
    return Call(receipt.callback, ident, receipt.user_hash, moment, status, body)


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


def _body(api_url: str, receipt: Receipt, outcome: Outcome) -> bytes:
    record, status = outcome.record, outcome.published_status
    data: dict[str, Any] = {"upload_id": receipt.upload_id, "status": status}
    if receipt.task_id:
        data["task_id"] = receipt.task_id
    if outcome.fault:
        data["error"] = {"code": outcome.fault.error_code}
    if record:
        data |= {"width": record.width, "height": record.height}
        data["links"] = _links(api_url, record.task_id)
    return canonical_json(_message(TYPE, outcome.at, data))


def _message(kind: str, at: datetime, data: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "timestamp": at.isoformat(), "data": data}


def _links(api_url: str, task_id: str) -> dict[str, str]:
    base = f"{api_url}/v1/tasks/{task_id}"
    return {"task": base} | {
        name: f"{base}/{name}" for name in ("result", "preview", "record")
    }
