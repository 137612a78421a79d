"""The object store behind one small port. Every client exception is translated in one place, its cause kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import IO, TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.utils import parse_timestamp

from shared.errors import Code, NotFound, PermanentError, StorageUnavailable
from shared.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class ObjectInfo:
    """What the store says of an object. `served_at` is the store's own clock at the time of the answer."""

    bucket: str
    key: str
    etag: str
    bytes: int
    last_modified: datetime
    version: str | None = None
    content_type: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    served_at: datetime | None = None


class ObjectStream(Protocol):
    info: ObjectInfo

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces of at most 1 MiB; raises `StorageUnavailable` when the connection breaks."""


class ObjectStore(Protocol):
    """Objects in buckets. All methods raise `StorageUnavailable` when the store cannot answer."""

    def open(self, bucket: str, key: str, version: str | None = None) -> _Opened:
        """Context manager over an `ObjectStream`; raises `NotFound`."""

    def read(self, bucket: str, key: str, version: str | None = None) -> bytes:
        """A whole (small) object; raises `NotFound`."""

    def head(self, bucket: str, key: str, version: str | None = None) -> ObjectInfo:
        """Raises `NotFound`."""

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes | IO[bytes],
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        """Write or overwrite. A file is sent from its beginning."""

    def put_new(
        self,
        bucket: str,
        key: str,
        data: bytes | IO[bytes],
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        """Write only where nothing is (`If-None-Match: *`). False: somebody was first, nothing was written."""

    def copy(self, source: ObjectInfo, bucket: str, key: str) -> None:
        """Copy inside the store, metadata kept."""

    def delete(self, bucket: str, key: str) -> None:
        """Deleting what is not there is no error."""

    def list(self, bucket: str, prefix: str = "", start_after: str = "") -> Iterator[ObjectInfo]:
        """Objects in key order, page by page, in constant memory; without version, type and metadata."""

    def list_versions(self, bucket: str) -> Iterator[ObjectInfo]:
        """Like `list`, with the version that a reader gets now where the bucket keeps versions."""

    def presigned(self, bucket: str, key: str, expires_s: int) -> str:
        """A URL with which anybody may GET this object for `expires_s`; the object need not exist."""


_Opened = Any  # a context manager yielding ObjectStream; typing.ContextManager loses the Protocol's methods


class S3Store:
    """`ObjectStore` on any S3-compatible server, through boto3."""

    def __init__(self, settings: Settings) -> None:
        self.client: S3Client = boto3.Session(botocore_session=_session()).client(
            "s3",
            endpoint_url=settings.s3_endpoint_url or None,
            region_name=settings.s3_region,
            aws_access_key_id=settings.s3_access_key.get_secret_value() or None,
            aws_secret_access_key=settings.s3_secret_key.get_secret_value() or None,
            config=Config(
                connect_timeout=3,
                read_timeout=30,
                max_pool_connections=32,
                retries={"mode": "standard", "total_max_attempts": 3},
                # Other servers than Amazon's do not all know the newer trailing checksums.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                signature_version="s3v4",  # presigned URLs would else be signed in a way that newer regions refuse
                s3={"addressing_style": "path"} if settings.s3_endpoint_url else {},
            ),
        )

    def make_bucket(self, bucket: str) -> bool:
        """Create a bucket in the client's region. False: it is there already."""
        region: Any = self.client.meta.region_name
        # Amazon's oldest region must not be named, and other servers know none.
        elsewhere = region != "us-east-1" and urlsplit(self.client.meta.endpoint_url).netloc.endswith("amazonaws.com")
        place: Any = {"CreateBucketConfiguration": {"LocationConstraint": region}} if elsewhere else {}
        with _translated(bucket, ""):
            try:
                self.client.create_bucket(Bucket=bucket, **place)
            except (self.client.exceptions.BucketAlreadyOwnedByYou, self.client.exceptions.BucketAlreadyExists):
                self.client.head_bucket(Bucket=bucket)  # somebody else's is refused here
                return False
        return True

    @contextmanager
    def open(self, bucket: str, key: str, version: str | None = None) -> Iterator[ObjectStream]:
        with _translated(bucket, key):
            response = self.client.get_object(Bucket=bucket, Key=key, **_version(version))
        stream = _Stream(_info(bucket, key, response), response["Body"])
        try:
            yield stream
        finally:
            response["Body"].close()

    def read(self, bucket: str, key: str, version: str | None = None) -> bytes:
        with self.open(bucket, key, version) as stream:
            return b"".join(stream.chunks())

    def head(self, bucket: str, key: str, version: str | None = None) -> ObjectInfo:
        with _translated(bucket, key):
            return _info(bucket, key, self.client.head_object(Bucket=bucket, Key=key, **_version(version)))

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes | IO[bytes],
        content_type: str,
        metadata: Mapping[str, str] | None = None,
        **condition: str,
    ) -> ObjectInfo:
        if not isinstance(data, bytes):
            data.seek(0)
        with _translated(bucket, key):
            response = self.client.put_object(
                Bucket=bucket,
                Key=key,
                Body=data,
                ContentType=content_type,
                Metadata=metadata or {},
                **condition,  # type: ignore[arg-type]
            )
        now = _served_at(response)
        return ObjectInfo(bucket, key, response["ETag"].strip('"'), 0, now, response.get("VersionId"), served_at=now)

    def put_new(
        self,
        bucket: str,
        key: str,
        data: bytes | IO[bytes],
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        try:
            self.put(bucket, key, data, content_type, metadata, IfNoneMatch="*")
        except _AlreadyThere:
            return False
        return True

    def copy(self, source: ObjectInfo, bucket: str, key: str) -> None:
        origin: Any = {"Bucket": source.bucket, "Key": source.key, **_version(source.version)}
        with _translated(source.bucket, source.key):
            self.client.copy_object(Bucket=bucket, Key=key, CopySource=origin)

    def delete(self, bucket: str, key: str) -> None:
        with _translated(bucket, key):
            self.client.delete_object(Bucket=bucket, Key=key)

    def list(self, bucket: str, prefix: str = "", start_after: str = "") -> Iterator[ObjectInfo]:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix, StartAfter=start_after
        )
        with _translated(bucket, prefix):
            for page in pages:
                for entry in page.get("Contents", []):
                    yield _listed(bucket, entry, page)

    def list_versions(self, bucket: str) -> Iterator[ObjectInfo]:
        with _translated(bucket, ""):
            if "Status" not in self.client.get_bucket_versioning(Bucket=bucket):
                yield from self.list(bucket)  # the same, and cheaper for every server
                return
            for page in self.client.get_paginator("list_object_versions").paginate(Bucket=bucket):
                for entry in page.get("Versions", []):
                    if entry["IsLatest"]:
                        yield replace(_listed(bucket, entry, page), version=entry["VersionId"])

    def presigned(self, bucket: str, key: str, expires_s: int) -> str:
        return self.client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": key}, expires_s)


def _session() -> botocore.session.Session:
    """A session that reads times quickly: the SDK's way of it takes four fifths of the time of a listing."""
    session = botocore.session.get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
    return session


def _timestamp(value: Any) -> datetime:
    try:
        return datetime.fromisoformat(value) if value[4] == "-" else parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError):
        return parse_timestamp(value)


class _AlreadyThere(Exception):
    """The store answered 412 (or 409, a concurrent conditional write) to `If-None-Match: *`."""


class _Stream:
    def __init__(self, info: ObjectInfo, body: Any) -> None:
        self.info = info
        self._body = body

    def chunks(self) -> Iterator[bytes]:
        with _translated(self.info.bucket, self.info.key):
            yield from self._body.iter_chunks(CHUNK_BYTES)


@contextmanager
def _translated(bucket: str, key: str) -> Iterator[None]:
    # The key is the user's own text: it is named in errors about objects, never in log lines of ours.
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code in ("NoSuchKey", "NotFound", "404", "NoSuchVersion", "MethodNotAllowed"):
            raise NotFound(Code.SOURCE_MISSING, f"no object {bucket}/{key}") from error
        if status == 412 or code == "ConditionalRequestConflict":
            raise _AlreadyThere(f"{bucket}/{key}") from error
        if status in (401, 403) or code == "NoSuchBucket":
            raise StorageUnavailable(f"{code} on bucket {bucket!r}: check its name and the access key") from error
        if 400 <= status < 500 and status not in (408, 429):
            raise PermanentError(Code.INTERNAL, f"the store refused {bucket}/{key}: {code}") from error
        raise StorageUnavailable(f"{code} on bucket {bucket!r}") from error
    except (BotoCoreError, HTTPClientError, OSError) as error:
        raise StorageUnavailable(f"{type(error).__name__} on bucket {bucket!r}") from error


def _version(version: str | None) -> dict[str, Any]:
    return {"VersionId": version} if version else {}


def _served_at(response: Any) -> datetime:
    return parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"])


def _listed(bucket: str, entry: Any, page: Any) -> ObjectInfo:
    etag = entry["ETag"].strip('"')
    return ObjectInfo(bucket, entry["Key"], etag, entry["Size"], entry["LastModified"], served_at=_served_at(page))


def _info(bucket: str, key: str, response: Any) -> ObjectInfo:
    return ObjectInfo(
        bucket,
        key,
        response["ETag"].strip('"'),
        response["ContentLength"],
        response["LastModified"],
        response.get("VersionId"),
        response.get("ContentType", ""),
        response.get("Metadata", {}),
        _served_at(response),
    )
