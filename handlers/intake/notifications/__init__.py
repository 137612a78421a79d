"""Every provider's notification → `UploadEvent`s, recognised by its shape; nothing
needs to be configured.

A notification is a hint: it may come twice, late or never, and is only believed about
*where* to look. It is also foreign bytes from the network, so its size and depth are
bounded and any fault in it is one `MessageError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from handlers.intake.notifications import cloudevents, s3, seaweedfs
from handlers.intake.notifications.event import UploadEvent
from shared.errors import MessageError

__all__ = ["MAX_BYTES", "UploadEvent", "parse"]

MAX_BYTES = 1_000_000
"""Largest notification read. Amazon's are at most 256 KiB; SeaweedFS adds some 100
bytes for each chunk of a file.
"""
MAX_WRAPPING = 4
"""EventBridge or S3 in SNS in SQS in a function's batch."""


def parse(body: bytes, headers: Mapping[str, str], bucket: str) -> list[UploadEvent]:
    """Events about objects in `bucket`; none for deletions, folders, other buckets and
    the providers' own tests.

    `headers`: names in lower case. Raises `MessageError` for bytes that are no
    notification known here.
    """
    if len(body) > MAX_BYTES:
        raise MessageError(
            f"a notification of {len(body)} bytes; the limit is {MAX_BYTES}"
        )
    document = cloudevents.from_headers(_json(body), headers)
    try:
        events = list(_read(document, 0))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise MessageError(
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from error
    except (TypeError, KeyError, ValueError) as error:
        raise MessageError(
            f"not a storage notification: {type(error).__name__}"
        ) from error
    return [
        event
        for event in events
        if event.bucket == bucket and not event.key.endswith("/")
    ]


def _json(body: bytes | str) -> Any:
    try:
        return from_json(body)
    except ValueError as error:
        raise MessageError(f"not JSON: {error}") from error


def _read(document: Any, depth: int) -> Iterator[UploadEvent]:
    if depth > MAX_WRAPPING:
        raise MessageError(f"wrapped more than {MAX_WRAPPING} times")
    if isinstance(document, str):
        yield from _read(_json(document), depth)
    elif isinstance(document, list):
        for item in document:
            yield from _read(item, depth + 1)
    elif isinstance(document, dict):
        yield from _object(document, depth)
    else:
        raise MessageError("not a JSON object")


def _object(document: dict[str, Any], depth: int) -> Iterator[UploadEvent]:
    names = document.keys()
    if {"event_type", "message"} <= names:
        yield from seaweedfs.filer(document)
    elif "Records" in names:
        yield from s3.records(document, _read, depth)
    elif "specversion" in names:
        yield from cloudevents.structured(document, _read, depth)
    elif {"detail-type", "detail"} <= names:
        yield from s3.eventbridge(document)
    elif {"action", "bucket", "object"} <= names:
        yield from s3.r2(document)
    elif document.get("Type") == "Notification":
        yield from _read(document["Message"], depth + 1)
    elif document.get("Type") == "SubscriptionConfirmation":
        raise MessageError(
            "SNS asks to confirm a subscription: open its SubscribeURL by hand, we follow no links"
        )
    elif document.get("Event") != "s3:TestEvent":
        raise MessageError(
            "none of the shapes of SeaweedFS, S3, MinIO, EventBridge, R2, SNS or CloudEvents"
        )
