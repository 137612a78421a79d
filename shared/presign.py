"""Requests that others may send to the object store in our name: signed here, by computation alone, sent by them.

Everything that a signature fixes cannot be changed by who sends it: the key, the content type, every `x-amz-meta-`
field. Addresses are those that clients reach: `DARKROOM_S3_PUBLIC_URL`, where it differs from our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import StorageUnavailable
from shared.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

META = "x-amz-meta-"
MIN_PART_BYTES = 5 << 20
"""S3 takes no smaller part, but for the last."""


@dataclass(frozen=True)
class Upload:
    """What may be uploaded: exactly this object. `bytes`: its size, where the sender told it."""

    bucket: str
    key: str
    content_type: str
    metadata: Mapping[str, str]
    bytes: int | None = None


@dataclass(frozen=True)
class Multipart:
    """`parts`: (number from 1, size in bytes, URL to PUT it to)."""

    upload_id: str
    parts: list[tuple[int, int, str]]
    complete: str
    abort: str


class Presigner:
    """Thread-safe. Clients are made when they are first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def get(self, bucket: str, key: str, expires_s: int) -> str:
        """A URL with which anybody may GET this object; it need not exist."""
        return self._sign("get_object", {"Bucket": bucket, "Key": key}, expires_s)

    def form(self, upload: Upload, max_bytes: int, expires_s: int) -> tuple[str, dict[str, str]]:
        """URL and fields of a form; the store refuses a file of no or more than `max_bytes` bytes."""
        fields = {"Content-Type": upload.content_type, "success_action_status": "201"}
        fields |= {f"{META}{name}": value for name, value in upload.metadata.items()}
        conditions = [["content-length-range", 1, max_bytes], *({name: value} for name, value in fields.items())]
        form = self._public.generate_presigned_post(upload.bucket, upload.key, fields, conditions, expires_s)
        return form["url"], form["fields"]

    def put(self, upload: Upload, expires_s: int) -> tuple[str, dict[str, str]]:
        """URL and headers of a PUT. A size that was told is signed, too: no other is taken."""
        asked: dict[str, Any] = {"Bucket": upload.bucket, "Key": upload.key, "ContentType": upload.content_type}
        headers = {"Content-Type": upload.content_type}
        headers |= {f"{META}{name}": value for name, value in upload.metadata.items()}
        if upload.bytes is not None:
            asked["ContentLength"] = upload.bytes
            headers["Content-Length"] = str(upload.bytes)
        return self._sign("put_object", asked | {"Metadata": dict(upload.metadata)}, expires_s), headers

    def multipart(self, upload: Upload, part_bytes: int, expires_s: int) -> Multipart:
        """Begin an upload in parts, of `upload.bytes` in all. Raises `StorageUnavailable`."""
        assert upload.bytes is not None
        place = {"Bucket": upload.bucket, "Key": upload.key}
        try:
            begun = self._own.create_multipart_upload(
                Bucket=upload.bucket, Key=upload.key, ContentType=upload.content_type, Metadata=dict(upload.metadata)
            )
        except (BotoCoreError, ClientError, OSError) as error:
            raise StorageUnavailable(f"{type(error).__name__} on bucket {upload.bucket!r}") from error
        place["UploadId"] = begun["UploadId"]
        parts = []
        for number, start in enumerate(range(0, upload.bytes, part_bytes), 1):
            size = min(part_bytes, upload.bytes - start)
            asked = place | {"PartNumber": number, "ContentLength": size}
            parts.append((number, size, self._sign("upload_part", asked, expires_s)))
        complete, abort = (
            self._sign(call, place, expires_s) for call in ("complete_multipart_upload", "abort_multipart_upload")
        )
        return Multipart(begun["UploadId"], parts, complete, abort)

    def _sign(self, call: str, asked: Mapping[str, Any], expires_s: int) -> str:
        return self._public.generate_presigned_url(call, dict(asked), expires_s)

    @cached_property
    def _public(self) -> S3Client:
        public = self._settings.s3_public_url
        return _client(self._settings, public) if public else self._own

    @cached_property
    def _own(self) -> S3Client:
        return _client(self._settings, self._settings.s3_endpoint_url)


def _client(settings: Settings, endpoint: str) -> S3Client:
    return boto3.Session().client(
        "s3",
        endpoint_url=endpoint or None,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key.get_secret_value() or None,
        aws_secret_access_key=settings.s3_secret_key.get_secret_value() or None,
        config=Config(
            connect_timeout=3,
            read_timeout=30,
            signature_version="s3v4",
            request_checksum_calculation="when_required",
            s3={"addressing_style": "path"} if endpoint else {},
        ),
    )
