"""An object store in memory, which stands in for the real ones: it behaves like them and
passes the same contract suite.
"""

from __future__ import annotations

import builtins
import hashlib
import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice, takewhile
from typing import IO, Any, cast
from uuid import uuid4

from botocore.exceptions import ClientError, ParamValidationError
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from shared.errors import Code, NotFound, PermanentError
from shared.s3.errors import Others, reading, translated, writing
from shared.s3.http import metadata_headers
from shared.s3.store import CHUNK_BYTES, ObjectInfo, Unfinished
from tests.support.fake_clock import FakeClock
from tests.support.refusals import METHODS, Refusal

NULL = "null"
"""The version of what was written without versioning."""
MOST_OF_KEY = 1024


@dataclass(frozen=True)
class _Object:
    """One version of a key. `info.version` is `null` for what was written without
    versioning.
    """

    info: ObjectInfo
    data: bytes
    is_marker: bool = False


class _Stream:
    def __init__(
        self, info: ObjectInfo, data: bytes, is_cut: bool, others: Others
    ) -> None:
        self.info = info
        self._data = data
        self._is_cut = is_cut
        self._others = others

    def chunks(self) -> Iterator[bytes]:
        ends = len(self._data) // 2 if self._is_cut else len(self._data)
        with reading(self.info.bucket, self.info.key, self._others):
            for start in range(0, ends, CHUNK_BYTES):
                yield self._data[start : min(start + CHUNK_BYTES, ends)]
            if self._is_cut:
                raise ProtocolError("the connection broke")


class MemoryStore:
    """`shared.s3.store.ObjectStore` in a dictionary, held to what real stores do by the
    same contract suite.

    Object times come in whole seconds, as over HTTP, listings page by page. Errors are
    those of an S3 server, told by the translation that is in use, so that what it makes
    of them is tested, too. Set `unavailable` to make every call raise
    `StorageUnavailable`; `refuse` does so for one key. Buckets in `versioned` keep all
    versions.
    """

    def __init__(
        self,
        clock: FakeClock | None = None,
        buckets: tuple[str, ...] = (
            "uploads",
            "results",
            "quarantine",
            "archive",
            "access",
        ),
        versioned: tuple[str, ...] = (),
    ) -> None:
        self.clock = clock or FakeClock()
        self.unavailable = False
        self.page = 1000
        self._buckets = buckets
        self._versioning: dict[str, bool] = dict.fromkeys(versioned, True)
        self._objects: dict[tuple[str, str], builtins.list[_Object]] = {}
        self._order: dict[str, builtins.list[str]] = {}
        self._begun: dict[str, Unfinished] = {}
        self._refused: dict[tuple[str, str, str], Refusal] = {}
        self._lock = threading.RLock()

    @contextmanager
    def open(
        self,
        bucket: str,
        key: str,
        version: str | None = None,
        if_match: str | None = None,
    ) -> Iterator[_Stream]:
        others = partial(self._gives_others, bucket, key)
        with reading(bucket, key, others):
            found = self._find("GET", bucket, key, version, if_match)
        refusal = self._refused.get((bucket, key, "GET"))
        yield _Stream(
            self._told(found),
            found.data,
            refusal is not None and refusal.is_cut,
            others,
        )

    def read(self, bucket: str, key: str, version: str | None = None) -> bytes:
        with self.open(bucket, key, version) as stream:
            return b"".join(stream.chunks())

    def read_same(self, known: ObjectInfo) -> bytearray:
        with self.open(known.bucket, known.key, known.version) as stream:
            if (stream.info.etag, stream.info.bytes) != (known.etag, known.bytes):
                raise PermanentError(
                    Code.SOURCE_CHANGED,
                    f"another object lies at {known.bucket}/{known.key} by now",
                )
            return bytearray().join(stream.chunks())

    def read_part(self, known: ObjectInfo, start: int, length: int) -> bytes:
        return bytes(self.read_same(known)[start : start + length])

    def head(self, bucket: str, key: str, version: str | None = None) -> ObjectInfo:
        with reading(bucket, key, partial(self._gives_others, bucket, key)):
            return self._told(self._find("HEAD", bucket, key, version))

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes | IO[bytes],
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        with writing(bucket, key, partial(self._takes, "PUT", bucket)):
            metadata_headers(metadata or {})
            put = self._write(bucket, key, data, content_type, metadata)
        # what the answer tells
        return replace(
            put, bytes=0, content_type="", metadata={}, served_at=put.last_modified
        )

    def put_new(
        self,
        bucket: str,
        key: str,
        data: bytes | IO[bytes],
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        with self._lock:
            with writing(bucket, key, partial(self._takes, "PUT", bucket)):
                self._check("PUT", bucket, key)
            if self._current(bucket, key):
                return False
            self.put(bucket, key, data, content_type, metadata)
            return True

    def copy(
        self, source: ObjectInfo, bucket: str, key: str, if_match: str | None = None
    ) -> None:
        def others() -> bool | None:
            return self._takes("PUT", bucket) and self._gives_others(
                source.bucket, source.key
            )

        with self._lock, reading(source.bucket, source.key, others):
            found = self._find(
                "COPY", source.bucket, source.key, source.version, if_match
            )
            self._write(
                bucket, key, found.data, found.info.content_type, found.info.metadata
            )

    def delete(self, bucket: str, key: str, version: str | None = None) -> None:
        with self._lock, writing(bucket, key, partial(self._takes, "DELETE", bucket)):
            self._check("DELETE", bucket, key)
            gone = version or (None if self._versioning.get(bucket) else NULL)
            kept = [
                found
                for found in self._objects.get((bucket, key), [])
                if found.info.version != gone
            ]
            if bucket in self._versioning and not version:
                kept.append(
                    _Object(self._info(bucket, key, "", 0), b"", is_marker=True)
                )
            self._keep(bucket, key, kept)

    def list(
        self, bucket: str, prefix: str = "", start_after: str = ""
    ) -> Iterator[ObjectInfo]:
        for info in self._listed(bucket, prefix, start_after):
            yield replace(info, version=None)

    def list_versions(self, bucket: str, start_after: str = "") -> Iterator[ObjectInfo]:
        for info in self._listed(
            bucket, "", "" if bucket in self._versioning else start_after
        ):
            yield info if bucket in self._versioning else replace(info, version=None)

    def every_version(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        with self._lock, translated(bucket, prefix):
            self._check("LIST", bucket, prefix)
            listed = [
                key for key in self._order.get(bucket, []) if key.startswith(prefix)
            ]
            found = [
                self._told(one)
                for key in listed
                for one in reversed(self._objects[bucket, key])
            ]
        yield from (replace(info, metadata={}, content_type="") for info in found)

    def unfinished(self, bucket: str) -> Iterator[Unfinished]:
        with translated(bucket, ""):
            self._check("LIST", bucket, "")
            for upload in list(self._begun.values()):
                if upload.bucket == bucket:
                    yield replace(upload, served_at=self._now())

    def end(self, upload: Unfinished) -> None:
        with translated(upload.bucket, upload.key):
            self._check("DELETE", upload.bucket, upload.key)
            self._begun.pop(upload.upload_id, None)

    # From here on: what only tests do.

    def arrive(
        self,
        bucket: str,
        key: str,
        data: bytes,
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        """Write as any client may, with metadata that ours would not send; the facts of
        what is there then.
        """
        with translated(bucket, key):
            return self._write(bucket, key, data, content_type, metadata)

    def begin(self, bucket: str, key: str) -> Unfinished:
        """Begin an upload in parts now."""
        begun = Unfinished(bucket, key, uuid4().hex, self._now(), self._now())
        self._begun[begun.upload_id] = begun
        return begun

    def complete(
        self,
        upload: Unfinished,
        parts: Sequence[bytes],
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        """Its ETag is that of the parts' own, and says how many there were."""
        etag = f"{hashlib.md5(b''.join(hashlib.md5(part).digest() for part in parts)).hexdigest()}-{len(parts)}"
        del self._begun[upload.upload_id]
        with translated(upload.bucket, upload.key):
            return self._write(
                upload.bucket, upload.key, b"".join(parts), content_type, metadata, etag
            )

    def make_bucket(self, bucket: str) -> None:
        self._buckets = (*self._buckets, bucket)

    def keep_versions(self, bucket: str) -> None:
        """From now on the bucket keeps all versions; what was there before is the
        version `null`.
        """
        self._versioning[bucket] = True

    def suspend_versions(self, bucket: str) -> None:
        """From now on what is written there is the version `null`; the others stay."""
        self._versioning[bucket] = False

    def versions(self, bucket: str) -> builtins.list[tuple[str, str, bytes | None]]:
        """Everything that is kept: keys, versions and bytes, oldest first; None is a
        delete marker.
        """
        return [
            (
                found.info.key,
                found.info.version or NULL,
                None if found.is_marker else found.data,
            )
            for (place, _), kept in sorted(self._objects.items())
            for found in kept
            if place == bucket
        ]

    def refuse(self, bucket: str, key: str, refusal: Refusal, *methods: str) -> None:
        """From now on the key is refused, to these methods or to all; it is listed as
        before. Without a key all are.
        """
        for method in methods or [method for method in METHODS if method != "LIST"]:
            self._refused[bucket, key, method] = refusal

    def allow(self) -> None:
        """No key is refused any more."""
        self._refused.clear()

    def keys(self, bucket: str) -> tuple[str, ...]:
        """Every key of a bucket."""
        return tuple(info.key for info in self.list(bucket))

    def _write(
        self,
        bucket: str,
        key: str,
        data: bytes | IO[bytes],
        content_type: str,
        metadata: Mapping[str, str] | None,
        etag: str = "",
    ) -> ObjectInfo:
        with self._lock:
            self._check("PUT", bucket, key)
            if not isinstance(data, bytes):
                data.seek(0)
                data = data.read()
            named = {
                name.lower(): value.strip() for name, value in (metadata or {}).items()
            }
            info = self._info(
                bucket, key, etag or hashlib.md5(data).hexdigest(), len(data)
            )
            info = replace(info, content_type=content_type, metadata=named)
            kept = self._objects.get((bucket, key), [])
            kept = [found for found in kept if found.info.version != info.version]
            self._keep(bucket, key, [*kept, _Object(info, data)])
            return self._told(self._objects[bucket, key][-1])

    def _keep(self, bucket: str, key: str, kept: Sequence[_Object]) -> None:
        """All versions of a key from now on; its place among the keys is kept with it."""
        order = self._order.setdefault(bucket, [])
        was_there = (bucket, key) in self._objects
        if kept:
            self._objects[bucket, key] = list(kept)
        elif was_there:
            del self._objects[bucket, key]
            del order[bisect_left(order, key.encode(), key=str.encode)]
        if kept and not was_there:
            insort(order, key, key=str.encode)

    def _info(self, bucket: str, key: str, etag: str, size: int) -> ObjectInfo:
        version = uuid4().hex if self._versioning.get(bucket) else NULL
        return ObjectInfo(bucket, key, etag, size, self._now(), version)

    def _told(self, found: _Object) -> ObjectInfo:
        """As the answer's headers say it: a bucket that never kept versions names none."""
        version = found.info.version if found.info.bucket in self._versioning else None
        return replace(found.info, version=version, served_at=self._now())

    def _current(self, bucket: str, key: str) -> _Object | None:
        kept = self._objects.get((bucket, key))
        return None if not kept or kept[-1].is_marker else kept[-1]

    def _find(
        self,
        method: str,
        bucket: str,
        key: str,
        version: str | None,
        if_match: str | None = None,
    ) -> _Object:
        with self._lock:
            self._check(method, bucket, key)
            if not version:
                found = self._current(bucket, key)
            else:
                kept = self._objects.get((bucket, key), [])
                found = next(
                    (found for found in kept if found.info.version == version), None
                )
        if found is None:
            raise _refused(method, 404, "NoSuchVersion" if version else "NoSuchKey")
        if found.is_marker:
            raise _refused(method, 405, "MethodNotAllowed")
        if if_match not in (None, found.info.etag):
            raise NotFound(Code.SOURCE_CHANGED, f"{bucket}/{key} was overwritten")
        return found

    def _gives_others(self, bucket: str, key: str) -> bool | None:
        """As `shared.s3.probe` finds it out, of all others instead of a few."""
        with self._lock:
            others = [
                other
                for other in self._order.get(bucket, [])
                if other != key and self._current(bucket, other)
            ]
            well = [
                other for other in others if (bucket, other, "GET") not in self._refused
            ]
        if (
            self.unavailable
            or bucket not in self._buckets
            or (bucket, "", "LIST") in self._refused
        ):
            return False
        return bool(well) if others else None

    def _takes(self, method: str, bucket: str) -> bool:
        """As `shared.s3.probe` finds it out: whether it is done with a key that nobody
        has refused by its name.
        """
        if self.unavailable or (method == "PUT" and bucket == "uploads"):
            return False
        return bucket in self._buckets and (bucket, "", method) not in self._refused

    def _listed(self, bucket: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
        """Each page as it is when it is asked for."""
        while True:
            with translated(bucket, prefix), self._lock:
                self._check("LIST", bucket, prefix)
                order = self._order.get(bucket, [])
                begin = bisect_left(order, prefix.encode(), key=str.encode)
                begin = max(begin, bisect_right(order, after.encode(), key=str.encode))
                asked = takewhile(
                    lambda key: key.startswith(prefix), islice(order, begin, None)
                )
                found = (
                    current for key in asked if (current := self._current(bucket, key))
                )
                page = [
                    replace(each.info, metadata={}, content_type="")
                    for each in islice(found, self.page)
                ]
            at = self._now()
            for info in page:
                yield replace(info, served_at=at)
            if len(page) < self.page:
                return
            after = page[-1].key

    def _check(self, method: str, bucket: str, key: str) -> None:
        """Raises what a client of S3 would raise."""
        if self.unavailable:
            raise ConnectionRefusedError
        if bucket not in self._buckets:
            raise _refused(method, 404, "NoSuchBucket")
        if method != "LIST" and not key:
            raise ParamValidationError(report="the key is empty")
        if len(key.encode()) > MOST_OF_KEY:
            raise _refused(method, 400, "KeyTooLongError")
        refusal = self._refused.get((bucket, key, method)) or self._refused.get(
            (bucket, "", method)
        )
        if refusal is not None and refusal.hangs:
            raise ReadTimeoutError(cast(Any, None), "", "no answer")
        if refusal is not None and not refusal.is_cut:
            raise _refused(method, refusal.status, refusal.code)

    def _now(self) -> datetime:
        return self.clock.now().replace(microsecond=0)


def _refused(method: str, status: int, code: str) -> ClientError:
    """The refusal as the client has it: the answer to a HEAD has no body, so its status
    must do.
    """
    told: Any = {"Code": str(status) if method == "HEAD" else code, "Message": ""}
    return ClientError(
        {"Error": told, "ResponseMetadata": cast(Any, {"HTTPStatusCode": status})},
        method,
    )
