"""Amazon S3 and what speaks its notifications: MinIO, RustFS, Ceph RGW; Amazon's
EventBridge; Cloudflare R2.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from pydantic import AliasChoices, Field

from handlers.intake.notifications.event import (
    Absent,
    Reader,
    Shape,
    UploadEvent,
    unquoted,
)
from shared.errors import MessageError


class _Object(Shape):
    key: str
    size: int | None = None
    etag: Absent = Field(None, validation_alias=AliasChoices("eTag", "etag"))
    version: Absent = Field(
        None, validation_alias=AliasChoices("versionId", "version-id")
    )
    sequencer: Absent = None


class _Bucket(Shape):
    name: str


class Entity(Shape):
    bucket: _Bucket
    object: _Object


class _Record(Shape):
    version: str = Field("2.0", alias="eventVersion")
    source: str = Field("aws:s3", alias="eventSource")
    name: str = Field(alias="eventName")
    time: datetime | None = Field(None, alias="eventTime")
    s3: Entity


def records(
    document: dict[str, Any],
    read: Reader,
    depth: int,
) -> Iterator[UploadEvent]:
    """`{"Records": […]}`: S3's own, or those in which SQS and SNS hand messages to a
    function.
    """
    for item in document["Records"]:
        if "body" in item:
            yield from read(item["body"], depth + 1)
        elif "Sns" in item:
            yield from read(item["Sns"]["Message"], depth + 1)
        else:
            yield from record(item)


def record(item: Any) -> Iterator[UploadEvent]:
    """One S3 record. Names come with or without `s3:`; newer minor versions only add
    fields.
    """
    found = _Record.model_validate(item)
    if found.version.partition(".")[0] != "2":
        raise MessageError(
            f"S3 notification version {found.version!r}; this code reads version 2"
        )
    action = found.name.removeprefix("s3:")
    if action.startswith("ObjectCreated:"):
        # Ceph sends keys as they are, all others as a form field would be sent.
        yield entity(
            found.s3,
            found.time,
            encoded=found.source != "ceph:s3",
            copied=action.endswith(":Copy"),
        )


def entity(
    found: Entity,
    time: datetime | None,
    *,
    encoded: bool,
    copied: bool,
) -> UploadEvent:
    item = found.object
    return UploadEvent(
        bucket=found.bucket.name,
        key=unquote_plus(item.key, errors="strict") if encoded else item.key,
        kind="copy" if copied else "create",
        version=item.version,
        etag=unquoted(item.etag),
        size=item.size,
        sequencer=item.sequencer,
        event_time=time,
    )


class _Detail(Entity):
    reason: str = ""


class _EventBridge(Shape):
    kind: str = Field(alias="detail-type")
    time: datetime | None = None
    detail: dict[str, Any]


def eventbridge(document: dict[str, Any]) -> Iterator[UploadEvent]:
    """Keys come as they are."""
    found = _EventBridge.model_validate(document)
    if found.kind == "Object Created":
        detail = _Detail.model_validate(found.detail)
        yield entity(
            detail, found.time, encoded=False, copied=detail.reason == "CopyObject"
        )


class _R2(Shape):
    action: str
    bucket: str
    object: dict[str, Any]
    time: datetime | None = Field(None, alias="eventTime")


def r2(document: dict[str, Any]) -> Iterator[UploadEvent]:
    """Keys come as they are."""
    found = _R2.model_validate(document)
    if found.action in ("PutObject", "CopyObject", "CompleteMultipartUpload"):
        whole = Entity.model_validate(
            {"bucket": {"name": found.bucket}, "object": found.object}
        )
        yield entity(
            whole, found.time, encoded=False, copied=found.action == "CopyObject"
        )
