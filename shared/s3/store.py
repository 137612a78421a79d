"""The object store: the port that all code uses, and its adapter for S3."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from urllib3 import BaseHTTPResponse

from shared.errors import Code, NotFound, PermanentError
from shared.runtime.settings import StoreSettings
from shared.s3 import listing
from shared.s3.client import given_credentials, s3_client, s3_session
from shared.s3.clock import StoreClock
from shared.s3.errors import AlreadyThere, reading, translated, writing
from shared.s3.http import ONCE, Body, S3Http, metadata_headers, size_of
from shared.s3.objects import ObjectInfo as ObjectInfo
from shared.s3.probe import SILENCE_S, Probe

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK_BYTES = 1 << 20
META = "x-amz-meta-"
PROBE = ".darkroom/probe"
"""Key of what `Probe` writes and deletes, in other buckets than that for results: see
`_probe_key`.
"""


@dataclass(frozen=True)
class Unfinished:
    """An upload in parts that was neither completed nor aborted. Times are the store's."""

    bucket: str
    key: str
    upload_id: str
    begun: datetime
    served_at: datetime

    @property
    def age_s(self) -> float:
        """Seconds since it was begun."""
        return (self.served_at - self.begun).total_seconds()


class ObjectStream(Protocol):
    """An object that is being read."""

    info: ObjectInfo

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces of at most 1 MiB.

        Raises `StorageUnavailable` when the connection breaks.
        """


class ObjectStore(Protocol):
    """Objects in buckets. All methods raise `StorageUnavailable` when the store cannot
    answer.

    Two of its subclasses blame the object, not the store: `ObjectUnreadable`, from what
    reads one object, and `ObjectUnwritable`, from what writes or deletes one.
    """

    def open(self, bucket: str, key: str, version: str | None = None) -> _Opened:
        """A context manager over an `ObjectStream`. Raises `NotFound`."""

    def read(self, bucket: str, key: str, version: str | None = None) -> bytes:
        """The body of a small object. Raises `NotFound`."""

    def read_same(self, known: ObjectInfo) -> bytearray:
        """The body of an object that is known, held in memory once.

        Raises `NotFound`, and `PermanentError(source_changed)`, without reading, where
        the object was replaced.
        """

    def read_part(self, known: ObjectInfo, start: int, length: int) -> bytes:
        """`length` bytes of an object that is known, from `start` on. Raises as
        `read_same`.
        """

    def head(self, bucket: str, key: str, version: str | None = None) -> ObjectInfo:
        """The object's attributes. Raises `NotFound`."""

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
        """Write only if the key is free (`If-None-Match: *`).

        False: there is an object already, nothing was written.
        """

    def copy(
        self, source: ObjectInfo, bucket: str, key: str, if_match: str | None = None
    ) -> None:
        """Copy inside the store, with the metadata.

        With the ETag `if_match`: raises `NotFound` where the source was replaced.
        """

    def delete(self, bucket: str, key: str, version: str | None = None) -> None:
        """Delete an object. One that is not there is no error.

        In a bucket with versions only `version`, if it is named, is really deleted.
        """

    def list(
        self, bucket: str, prefix: str = "", start_after: str = ""
    ) -> Iterator[ObjectInfo]:
        """Objects in key order, page by page, in constant memory.

        They have neither version nor content type nor metadata.
        """

    def unfinished(self, bucket: str) -> Iterator[Unfinished]:
        """Unfinished uploads in parts, in no order, page by page."""

    def end(self, upload: Unfinished) -> None:
        """Abort an upload in parts and delete its parts. One that ended meanwhile is no
        error.
        """

    def list_versions(self, bucket: str, start_after: str = "") -> Iterator[ObjectInfo]:
        """Like `list`, but with the current version where the bucket keeps versions.

        Versions are listed from the beginning, whatever `start_after` says: SeaweedFS
        cannot go on from the middle of a folder.
        """

    def every_version(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        """Like `list`, but with all versions and delete markers where the bucket keeps
        versions.
        """


# A context manager over ObjectStream: typing.ContextManager loses the methods of the
# protocol.
_Opened = Any


class S3Store:
    """`ObjectStore` on any S3-compatible server: single objects and listings by
    `S3Http`, all else by boto3.

    `clock` is corrected by the store's responses.
    """

    def __init__(
        self, settings: StoreSettings, clock: StoreClock | None = None
    ) -> None:
        session = s3_session()
        self.clock = clock or StoreClock()
        self.client: S3Client = s3_client(session, settings, self.clock)
        http = partial(
            S3Http,
            self.client.meta.endpoint_url,
            settings.s3_region,
            given_credentials(settings) or session.get_credentials(),
            path_style=bool(settings.s3_endpoint_url),
            verify=session.get_config_variable("ca_bundle") or True,
            clock=self.clock,
        )
        self._http = http()
        self._probe = Probe(http(retry=ONCE, read_s=SILENCE_S))
        self._uploads = settings.bucket_uploads
        self._results = settings.bucket_results

    def make_bucket(self, bucket: str) -> bool:
        """Create a bucket in the client's region. False: it exists already."""
        region: Any = self.client.meta.region_name
        host = urlsplit(self.client.meta.endpoint_url).netloc
        options: Any = {}
        # Amazon's oldest region must not be named, and other servers know none.
        if region != "us-east-1" and host.endswith("amazonaws.com"):
            options = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        with translated(bucket, ""):
            try:
                self.client.create_bucket(Bucket=bucket, **options)
            except (
                self.client.exceptions.BucketAlreadyOwnedByYou,
                self.client.exceptions.BucketAlreadyExists,
            ):
                # This is refused for a bucket of another account.
                self.client.head_bucket(Bucket=bucket)
                return False
        return True

    @contextmanager
    def open(
        self, bucket: str, key: str, version: str | None = None
    ) -> Iterator[ObjectStream]:
        with self._opened(bucket, key, version) as stream:
            yield stream

    @contextmanager
    def _opened(
        self, bucket: str, key: str, version: str | None, **headers: str
    ) -> Iterator[_Stream]:
        with self._reading(bucket, key):
            response = self._http.request("GET", bucket, key, version, headers)
        try:
            yield _Stream(_info(bucket, key, response), response, self._reading)
        finally:
            response.close()

    def _reading(self, bucket: str, key: str) -> AbstractContextManager[None]:
        return reading(bucket, key, lambda: self._probe.others(bucket, key))

    def _writing(
        self,
        method: str,
        bucket: str,
        key: str,
        size: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> AbstractContextManager[None]:
        def takes() -> bool:
            return self._takes(method, bucket, key, size, headers or {})

        return writing(bucket, key, takes)

    def _takes(
        self, method: str, bucket: str, key: str, size: int, headers: Mapping[str, str]
    ) -> bool:
        """Whether the store does the same for another key of the bucket."""
        if method == "PUT" and bucket == self._uploads:
            # Anything that is put there would be an upload.
            return False
        place = _probe_key(key) if bucket == self._results else PROBE
        return self._probe.takes(method, bucket, place, size, headers)

    def read(self, bucket: str, key: str, version: str | None = None) -> bytes:
        with self.open(bucket, key, version) as stream:
            return b"".join(stream.chunks())

    def read_same(self, known: ObjectInfo) -> bytearray:
        return self._read_known(known, known.bytes)

    def read_part(self, known: ObjectInfo, start: int, length: int) -> bytes:
        end = start + length - 1
        return bytes(self._read_known(known, length, Range=f"bytes={start}-{end}"))

    def _read_known(self, known: ObjectInfo, length: int, **headers: str) -> bytearray:
        bucket, key = known.bucket, known.key
        headers["If-Match"] = f'"{known.etag}"'
        try:
            with self._opened(bucket, key, known.version, **headers) as stream:
                # Some servers ignore the condition, so the response is compared as well.
                info = stream.info
                if info.etag == known.etag and info.bytes == length:
                    return _whole(stream)
        except AlreadyThere:
            pass
        detail = f"another object lies at {bucket}/{key} by now"
        raise PermanentError(Code.SOURCE_CHANGED, detail)

    def head(self, bucket: str, key: str, version: str | None = None) -> ObjectInfo:
        with self._reading(bucket, key):
            response = self._http.request("HEAD", bucket, key, version)
            return _info(bucket, key, response)

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes | IO[bytes],
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        return self._put(bucket, key, data, {"Content-Type": content_type}, metadata)

    def put_new(
        self,
        bucket: str,
        key: str,
        data: bytes | IO[bytes],
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        headers = {"Content-Type": content_type, "If-None-Match": "*"}
        try:
            self._put(bucket, key, data, headers, metadata)
        except AlreadyThere:
            return False
        return True

    def _put(
        self,
        bucket: str,
        key: str,
        data: Body,
        headers: Mapping[str, str],
        metadata: Mapping[str, str] | None,
    ) -> ObjectInfo:
        with self._writing("PUT", bucket, key, size_of(data), headers):
            sent = {**headers, **metadata_headers(metadata or {})}
            response = self._http.request("PUT", bucket, key, headers=sent, body=data)
        now = parsedate_to_datetime(response.headers["Date"])
        etag = response.headers["ETag"].strip('"')
        version = response.headers.get("x-amz-version-id")
        return ObjectInfo(bucket, key, etag, 0, now, version, served_at=now)

    def copy(
        self, source: ObjectInfo, bucket: str, key: str, if_match: str | None = None
    ) -> None:
        version: Any = {"VersionId": source.version} if source.version else {}
        origin: Any = {"Bucket": source.bucket, "Key": source.key, **version}
        condition: Any = {"CopySourceIfMatch": f'"{if_match}"'} if if_match else {}

        def copies_others() -> bool | None:
            # The refusal of a store that is full does not say which of the two keys it
            # means.
            if not self._takes("PUT", bucket, key, source.bytes, {}):
                return False
            return self._probe.others(source.bucket, source.key)

        try:
            with reading(source.bucket, source.key, copies_others):
                self.client.copy_object(
                    Bucket=bucket, Key=key, CopySource=origin, **condition
                )
            if if_match and not source.version:
                self._check_source(source, if_match, bucket, key)
        except AlreadyThere as error:
            raise _overwritten(source) from error

    def _check_source(
        self, source: ObjectInfo, etag: str, bucket: str, copy: str
    ) -> None:
        """Delete a copy whose source was replaced, and raise `NotFound`: Ceph 16 copies
        the object that is there, whatever the condition says.
        """
        try:
            if self.head(source.bucket, source.key).etag == etag:
                return
        except NotFound:
            # It is unknown what was copied.
            pass
        self.delete(bucket, copy)
        raise _overwritten(source)

    def delete(self, bucket: str, key: str, version: str | None = None) -> None:
        with self._writing("DELETE", bucket, key):
            self._http.request("DELETE", bucket, key, version)

    def list(
        self, bucket: str, prefix: str = "", start_after: str = ""
    ) -> Iterator[ObjectInfo]:
        with translated(bucket, prefix):
            for page in listing.objects(self._http, bucket, prefix, start_after):
                yield from page

    def unfinished(self, bucket: str) -> Iterator[Unfinished]:
        # SeaweedFS orders them by id, and goes on by the id alone: hence no start and
        # no order here.
        paginator = self.client.get_paginator("list_multipart_uploads")
        page_size: Any = {"PageSize": listing.PAGE}
        pages = paginator.paginate(Bucket=bucket, PaginationConfig=page_size)
        with translated(bucket, ""):
            for page in pages:
                served_at = _served_at(page)
                for entry in page.get("Uploads", []):
                    key, upload_id = entry["Key"], entry["UploadId"]
                    # Of all servers Ceph gives parts of a second here.
                    begun = entry["Initiated"].replace(microsecond=0)
                    yield Unfinished(bucket, key, upload_id, begun, served_at)

    def end(self, upload: Unfinished) -> None:
        with (
            translated(upload.bucket, upload.key),
            suppress(self.client.exceptions.NoSuchUpload),
        ):
            self.client.abort_multipart_upload(
                Bucket=upload.bucket, Key=upload.key, UploadId=upload.upload_id
            )

    def list_versions(self, bucket: str, start_after: str = "") -> Iterator[ObjectInfo]:
        with translated(bucket, ""):
            if not self._keeps_versions(bucket):
                # The same result, which costs every server less.
                yield from self.list(bucket, start_after=start_after)
                return
            for page in listing.versions(self._http, bucket, is_all=False):
                yield from page

    def every_version(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        with translated(bucket, prefix):
            if not self._keeps_versions(bucket):
                yield from self.list(bucket, prefix)
                return
            for page in listing.versions(self._http, bucket, prefix):
                yield from page

    def _keeps_versions(self, bucket: str) -> bool:
        """Whether the bucket keeps versions, or did: then it has a status."""
        return "Status" in self.client.get_bucket_versioning(Bucket=bucket)


class _Stream:
    """`ObjectStream` over a response."""

    def __init__(
        self,
        info: ObjectInfo,
        body: BaseHTTPResponse,
        reading: Callable[[str, str], AbstractContextManager[None]],
    ) -> None:
        self.info = info
        self._body = body
        self._reading = reading

    def chunks(self) -> Iterator[bytes]:
        with self._reading(self.info.bucket, self.info.key):
            # Raises where less comes than the response announced.
            while chunk := self._body.read(CHUNK_BYTES):
                yield chunk


def _whole(stream: ObjectStream) -> bytearray:
    """The body, put together in place, so that it is in memory once."""
    data = bytearray(stream.info.bytes)
    position = 0
    for chunk in stream.chunks():
        end = position + len(chunk)
        data[position:end] = chunk
        position = end
    return data


def _overwritten(source: ObjectInfo) -> NotFound:
    detail = f"{source.bucket}/{source.key} was overwritten"
    return NotFound(Code.SOURCE_CHANGED, detail)


def _served_at(response: Any) -> datetime:
    return parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"])


def _info(bucket: str, key: str, response: BaseHTTPResponse) -> ObjectInfo:
    headers = response.headers
    metadata = {}
    for name, value in headers.items():
        if name.lower().startswith(META):
            metadata[name.lower()[len(META) :]] = value
    return ObjectInfo(
        bucket=bucket,
        key=key,
        etag=headers["ETag"].strip('"'),
        bytes=int(headers["Content-Length"]),
        last_modified=parsedate_to_datetime(headers["Last-Modified"]),
        version=headers.get("x-amz-version-id"),
        content_type=headers.get("Content-Type", ""),
        metadata=metadata,
        served_at=parsedate_to_datetime(headers["Date"]),
    )


def _probe_key(key: str) -> str:
    """What is written for a moment, to see whether anything is taken beside `key`.

    Rights end at folders, so it lies in that of the key; by its name it is no document
    of any kind.
    """
    return f"{key.partition('/')[0]}/.darkroom-probe"
