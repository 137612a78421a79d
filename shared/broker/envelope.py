"""kombu's JSON envelope around a body, for brokers that carry text. Any kombu client can
read ours, and we read any kombu client's.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4


@dataclass(frozen=True)
class Content:
    """Body and headers of a message, out of its envelope."""

    body: bytes
    headers: dict[str, Any]
    redelivered: bool = False


def seal(body: bytes, headers: Mapping[str, str], queue: str) -> str:
    """The envelope of a persistent JSON message, as kombu's own producer makes it."""
    properties = {
        "body_encoding": "base64",
        "delivery_tag": str(uuid4()),
        "delivery_mode": 2,
        "priority": 0,
        "delivery_info": {"exchange": "", "routing_key": queue},
    }
    envelope = {
        "body": base64.b64encode(body).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": dict(headers),
        "properties": properties,
    }
    return json.dumps(envelope)


def unseal(raw: bytes) -> Content | None:
    """The content of an envelope; None for bytes that are no envelope."""
    try:
        envelope = json.loads(raw)
        encoding = envelope["properties"]["body_encoding"]
        text = envelope["body"]
        is_base64 = encoding == "base64"
        body = base64.b64decode(text, validate=True) if is_base64 else text.encode()
        headers = dict(envelope.get("headers") or {})
        return Content(body, headers, bool(envelope.get("redelivered")))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def opened(raw: bytes) -> Content:
    """The content of an SQS message: an envelope, encoded by kombu's own SQS transport
    or bare, or any other text.
    """
    try:
        content = unseal(base64.b64decode(raw, validate=True))
    except ValueError:
        content = unseal(raw)
    return content or Content(raw, {})


def payload(content: Content, tag: str, queue: str) -> dict[str, Any]:
    """The dictionary from which kombu's emulated channels make a message."""
    info = {"exchange": "", "routing_key": queue, "redelivered": content.redelivered}
    properties = {"delivery_tag": tag, "body_encoding": None, "delivery_info": info}
    return {"body": content.body, "headers": content.headers, "properties": properties}
