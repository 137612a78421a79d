"""CloudEvents 1.0 about S3 objects: structured (one JSON document) and binary (`ce-*`
headers beside the data).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from handlers.intake.notifications import s3
from handlers.intake.notifications.event import Reader, Shape, UploadEvent
from shared.errors import MessageError

S3_TYPE = "com.amazonaws.s3."


class _CloudEvent(Shape):
    specversion: str
    type: str
    time: datetime | None = None
    data: Any = None


def from_headers(data: Any, headers: Mapping[str, str]) -> Any:
    """The structured form of a binary event; a document without `ce-` headers stays as
    it is.
    """
    if "ce-specversion" not in headers:
        return data
    names = ("specversion", "type", "time")
    return {
        name: headers[f"ce-{name}"] for name in names if f"ce-{name}" in headers
    } | {"data": data}


def structured(
    document: dict[str, Any],
    read: Reader,
    depth: int,
) -> Iterator[UploadEvent]:
    """The data are S3's notification, one record of it, or only its `s3` part; or what
    any other shape here is.
    """
    event = _CloudEvent.model_validate(document)
    if event.specversion.partition(".")[0] != "1":
        raise MessageError(
            f"CloudEvents version {event.specversion!r}; this code reads version 1"
        )
    data = event.data
    if not isinstance(data, dict):
        raise MessageError(
            f"CloudEvent of type {event.type!r} without a JSON object as its data"
        )
    if "s3" in data:
        yield from s3.record(data)
    elif event.type.startswith(S3_TYPE) and "Records" not in data:
        action = event.type.removeprefix(S3_TYPE).removeprefix("s3:")
        if action.startswith("ObjectCreated:"):
            found = s3.Entity.model_validate(data)
            yield s3.entity(
                found, event.time, encoded=True, copied=action.endswith(":Copy")
            )
    else:
        yield from read(data, depth + 1)
