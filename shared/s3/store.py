"""The object store behind one small port."""

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
from shared.s3.errors import AlreadyThere, giving, taking, translated
from shared.s3.http import ONCE, Body, S3Http, metadata_headers, size_of
from shared.s3.objects import ObjectInfo as ObjectInfo
from shared.s3.probe import SILENCE_S, Probe
from shared.uploads import keys

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK_BYTES = 1 << 20
META = "x-amz-meta-"
PROBE = ".darkroom/probe"
"""Written and deleted at once, in other buckets than that for results: see
`keys.probe`.
"""


@dataclass(frozen=True)
class Unfinished:
    """An upload in parts that was begun and neither completed nor ended. Times are the
    store's.
    """

    bucket: str
    key: str
    upload_id: str
    begun: datetime
    served_at: datetime

    @property
    def age_s(self) -> float:
        return (self.served_at - self.begun).total_seconds()


class ObjectStream(Protocol):
    info: ObjectInfo

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces of at most 1 MiB; raises `StorageUnavailable` when the
        connection breaks.
        """


class ObjectStore(Protocol):
    """Objects in buckets. All methods raise `StorageUnavailable` when the store cannot
    answer.

    What reads one object raises `ObjectUnreadable`, which is one, where the store gives
    others and not this; what writes or deletes one raises `ObjectUnwritable`, likewise.
    """

    def open(self, bucket: str, key: str, version: str | None = None) -> _Opened:
        """Context manager over an `ObjectStream`; raises `NotFound`."""

    def read(self, bucket: str, key: str, version: str | None = None) -> bytes:
        """A whole (small) object; raises `NotFound`."""

    def read_same(self, known: ObjectInfo) -> bytearray:
        """The body of an object that is known, once in memory; raises `NotFound`.

        Raises `PermanentError(source_changed)` without reading it where another lies
        there by now.
        """

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
        """Write only where nothing is (`If-None-Match: *`). False: somebody was first,
        nothing was written.
        """

    def copy(
        self, source: ObjectInfo, bucket: str, key: str, if_match: str | None = None
    ) -> None:
        """Copy inside the store, metadata kept. With an ETag: `NotFound` where
        something else lies there by now.
        """

    def delete(self, bucket: str, key: str, version: str | None = None) -> None:
        """Deleting what is not there is no error. A bucket with versions keeps them
        all, but for one that is named.
        """

    def list(
        self, bucket: str, prefix: str = "", start_after: str = ""
    ) -> Iterator[ObjectInfo]:
        """Objects in key order, page by page, in constant memory; without version, type
        and metadata.
        """

    def unfinished(self, bucket: str) -> Iterator[Unfinished]:
        """Uploads in parts that were begun, in no order, page by page."""

    def end(self, upload: Unfinished) -> None:
        """Drop an upload in parts with all its parts. One that is over by now is no
        error.
        """

    def list_versions(self, bucket: str, start_after: str = "") -> Iterator[ObjectInfo]:
        """Like `list`, with the version that a reader gets now where the bucket keeps
        versions.

        Those are listed from their beginning: SeaweedFS does not go on from the middle
        of folders.
        """

    def every_version(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        """Like `list`, with all that is kept where the bucket keeps versions: those
        before, and delete markers.
        """


# a context manager yielding ObjectStream; typing.ContextManager loses the Protocol's
# methods
_Opened = Any


class S3Store:
    """`ObjectStore` on any S3-compatible server: single objects and listings through
    `S3Http`, all else through boto3.

    `clock` is the store's time, as its answers tell it.
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
        self._http, self._probe = http(), Probe(http(retry=ONCE, read_s=SILENCE_S))
        self._uploads, self._results = settings.bucket_uploads, settings.bucket_results

    def make_bucket(self, bucket: str) -> bool:
        """Create a bucket in the client's region. False: it is there already."""
        region: Any = self.client.meta.region_name
        # Amazon's oldest region must not be named, and other servers know none.
        elsewhere = region != "us-east-1" and urlsplit(
            self.client.meta.endpoint_url
        ).netloc.endswith("amazonaws.com")
        place: Any = (
            {"CreateBucketConfiguration": {"LocationConstraint": region}}
            if elsewhere
            else {}
        )
        with translated(bucket, ""):
            try:
                self.client.create_bucket(Bucket=bucket, **place)
            except (
                self.client.exceptions.BucketAlreadyOwnedByYou,
                self.client.exceptions.BucketAlreadyExists,
            ):
                # somebody else's is refused here
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
        with self._giving(bucket, key):
            answer = self._http.request("GET", bucket, key, version, headers)
        try:
            yield _Stream(_info(bucket, key, answer), answer, self._giving)
        finally:
            answer.close()

    def _giving(self, bucket: str, key: str) -> AbstractContextManager[None]:
        return giving(bucket, key, lambda: self._probe.others(bucket, key))

    def _taking(
        self,
        method: str,
        bucket: str,
        key: str,
        size: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> AbstractContextManager[None]:
        return taking(
            bucket, key, lambda: self._takes(method, bucket, key, size, headers or {})
        )

    def _takes(
        self, method: str, bucket: str, key: str, size: int, headers: Mapping[str, str]
    ) -> bool:
        if method == "PUT" and bucket == self._uploads:
            return False  # what is put there is an upload
        place = keys.probe(key) if bucket == self._results else PROBE
        return self._probe.takes(method, bucket, place, size, headers)

    def read(self, bucket: str, key: str, version: str | None = None) -> bytes:
        with self.open(bucket, key, version) as stream:
            return b"".join(stream.chunks())

    def read_same(self, known: ObjectInfo) -> bytearray:
        bucket, key = known.bucket, known.key
        try:
            # Not every server heeds the condition, so its answer is compared, too.
            with self._opened(
                bucket, key, known.version, **{"If-Match": f'"{known.etag}"'}
            ) as stream:
                if (stream.info.etag, stream.info.bytes) == (known.etag, known.bytes):
                    return _whole(stream)
        except AlreadyThere:
            pass
        raise PermanentError(
            Code.SOURCE_CHANGED, f"another object lies at {bucket}/{key} by now"
        )

    def head(self, bucket: str, key: str, version: str | None = None) -> ObjectInfo:
        with self._giving(bucket, key):
            return _info(bucket, key, self._http.request("HEAD", bucket, key, version))

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
        try:
            self._put(
                bucket,
                key,
                data,
                {"Content-Type": content_type, "If-None-Match": "*"},
                metadata,
            )
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
        with self._taking("PUT", bucket, key, size_of(data), headers):
            told = {**headers, **metadata_headers(metadata or {})}
            answer = self._http.request(
                "PUT", bucket, key, headers=told, body=data
            ).headers
        now = parsedate_to_datetime(answer["Date"])
        return ObjectInfo(
            bucket,
            key,
            answer["ETag"].strip('"'),
            0,
            now,
            answer.get("x-amz-version-id"),
            served_at=now,
        )

    def copy(
        self, source: ObjectInfo, bucket: str, key: str, if_match: str | None = None
    ) -> None:
        version: Any = {"VersionId": source.version} if source.version else {}
        origin: Any = {"Bucket": source.bucket, "Key": source.key, **version}
        condition: Any = {"CopySourceIfMatch": f'"{if_match}"'} if if_match else {}
        try:
            # A store that is full does not say whether it is the source that it means.
            with giving(
                source.bucket, source.key, lambda: self._copies(source, bucket, key)
            ):
                self.client.copy_object(
                    Bucket=bucket, Key=key, CopySource=origin, **condition
                )
            if if_match and not source.version:
                self._still_lies_there(source, if_match, bucket, key)
        except AlreadyThere as error:
            raise NotFound(
                Code.SOURCE_CHANGED, f"{source.bucket}/{source.key} was overwritten"
            ) from error

    def _copies(self, source: ObjectInfo, bucket: str, key: str) -> bool | None:
        """Whether others of the source's bucket are given, and the other bucket takes
        as much.
        """
        return self._takes("PUT", bucket, key, source.bytes, {}) and self._probe.others(
            source.bucket, source.key
        )

    def _still_lies_there(
        self, source: ObjectInfo, etag: str, bucket: str, copy: str
    ) -> None:
        """Ceph 16 copies what lies there by now, whatever the condition says: its copy
        is taken back.
        """
        try:
            if self.head(source.bucket, source.key).etag == etag:
                return
        except NotFound:
            pass  # nobody can tell what was copied
        self.delete(bucket, copy)
        raise NotFound(
            Code.SOURCE_CHANGED, f"{source.bucket}/{source.key} was overwritten"
        )

    def delete(self, bucket: str, key: str, version: str | None = None) -> None:
        with self._taking("DELETE", bucket, key):
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
        pages = self.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=bucket, PaginationConfig={"PageSize": listing.PAGE}
        )
        with translated(bucket, ""):
            for page in pages:
                for entry in page.get("Uploads", []):
                    # Ceph tells parts of a second here alone
                    begun = entry["Initiated"].replace(microsecond=0)
                    yield Unfinished(
                        bucket, entry["Key"], entry["UploadId"], begun, _served_at(page)
                    )

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
            if "Status" not in self.client.get_bucket_versioning(Bucket=bucket):
                # the same, and cheaper for every server
                yield from self.list(bucket, start_after=start_after)
                return
            for page in listing.versions(self._http, bucket, is_all=False):
                yield from page

    def every_version(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        with translated(bucket, prefix):
            if "Status" not in self.client.get_bucket_versioning(Bucket=bucket):
                yield from self.list(bucket, prefix)
                return
            for page in listing.versions(self._http, bucket, prefix):
                yield from page


class _Stream:
    def __init__(
        self,
        info: ObjectInfo,
        body: BaseHTTPResponse,
        giving: Callable[[str, str], AbstractContextManager[None]],
    ) -> None:
        self.info = info
        self._body = body
        self._giving = giving

    def chunks(self) -> Iterator[bytes]:
        with self._giving(self.info.bucket, self.info.key):
            # raises where less comes than was promised
            while chunk := self._body.read(CHUNK_BYTES):
                yield chunk


def _whole(stream: ObjectStream) -> bytearray:
    """A body of the size that its server told: put together in place, so that it is in
    memory once.
    """
    data, at = bytearray(stream.info.bytes), 0
    for chunk in stream.chunks():
        data[at : at + len(chunk)] = chunk
        at += len(chunk)
    return data


def _served_at(response: Any) -> datetime:
    return parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"])


def _info(bucket: str, key: str, answer: BaseHTTPResponse) -> ObjectInfo:
    headers = answer.headers
    return ObjectInfo(
        bucket,
        key,
        headers["ETag"].strip('"'),
        int(headers["Content-Length"]),
        parsedate_to_datetime(headers["Last-Modified"]),
        headers.get("x-amz-version-id"),
        headers.get("Content-Type", ""),
        {
            name.lower()[len(META) :]: value
            for name, value in headers.items()
            if name.lower().startswith(META)
        },
        parsedate_to_datetime(headers["Date"]),
    )
