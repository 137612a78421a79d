"""kombu's JSON envelope around a body, on the brokers that carry text: any kombu client
can read ours, we read any.
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
    body: bytes
    headers: dict[str, Any]
    redelivered: bool = False


def seal(body: bytes, headers: Mapping[str, str], queue: str) -> str:
    """What kombu's own producer would send for a persistent JSON message."""
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": dict(headers),
            "properties": {
                "body_encoding": "base64",
                "delivery_tag": str(uuid4()),
                "delivery_mode": 2,
                "priority": 0,
                "delivery_info": {"exchange": "", "routing_key": queue},
            },
        }
    )


def unseal(raw: bytes) -> Content | None:
    """None for bytes that are no envelope."""
    try:
        payload = json.loads(raw)
        encoding = payload["properties"]["body_encoding"]
        body = (
            base64.b64decode(payload["body"], validate=True)
            if encoding == "base64"
            else payload["body"].encode()
        )
        return Content(
            body, dict(payload.get("headers") or {}), bool(payload.get("redelivered"))
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def opened(raw: bytes) -> Content:
    """What a message of SQS holds: an envelope, as kombu's own SQS transport encodes it
    or bare, or somebody's text.
    """
    try:
        content = unseal(base64.b64decode(raw, validate=True))
    except ValueError:
        content = unseal(raw)
    return content or Content(raw, {})


def payload(content: Content, tag: str, queue: str) -> dict[str, Any]:
    """What kombu's emulated channels make a message of."""
    info = {"exchange": "", "routing_key": queue, "redelivered": content.redelivered}
    properties = {"delivery_tag": tag, "body_encoding": None, "delivery_info": info}
    return {"body": content.body, "headers": content.headers, "properties": properties}
