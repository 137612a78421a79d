"""In-memory stand-ins for the ports. They behave like the real things and pass the same contract suites."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import IO
from uuid import uuid4

from shared.errors import BrokerUnavailable, Code, NotFound, StorageUnavailable
from shared.storage import CHUNK_BYTES, ObjectInfo, Unfinished


class FakeClock:
    """Time that only a test moves."""

    def __init__(self, start: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) -> None:
        self.current = start
        self._started = start

    def now(self) -> datetime:
        return self.current

    def monotonic(self) -> float:
        return (self.current - self._started).total_seconds()

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self.current += timedelta(seconds=seconds)


@dataclass(frozen=True)
class _Object:
    info: ObjectInfo
    data: bytes


class _Stream:
    def __init__(self, found: _Object) -> None:
        self.info = found.info
        self._data = found.data

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self._data), CHUNK_BYTES):
            yield self._data[start : start + CHUNK_BYTES]


class MemoryStore:
    """`shared.storage.ObjectStore` in a dictionary. Object times come in whole seconds, as over HTTP.

    Set `unavailable` to make every call raise `StorageUnavailable`; buckets in `versioned` keep all versions.
    """

    def __init__(
        self,
        clock: FakeClock | None = None,
        buckets: tuple[str, ...] = ("uploads", "results", "quarantine", "archive"),
        versioned: tuple[str, ...] = (),
    ) -> None:
        self.clock = clock or FakeClock()
        self.unavailable = False
        self._buckets = buckets
        self._versioned = versioned
        self._objects: dict[tuple[str, str], list[_Object]] = {}
        self._begun: dict[str, Unfinished] = {}
        self._lock = threading.Lock()

    @contextmanager
    def open(self, bucket: str, key: str, version: str | None = None) -> Iterator[_Stream]:
        found = self._find(bucket, key, version)
        yield _Stream(replace(found, info=replace(found.info, served_at=self._now())))

    def read(self, bucket: str, key: str, version: str | None = None) -> bytes:
        return self._find(bucket, key, version).data

    def head(self, bucket: str, key: str, version: str | None = None) -> ObjectInfo:
        return replace(self._find(bucket, key, version).info, served_at=self._now())

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes | IO[bytes],
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        self._check(bucket)
        if not isinstance(data, bytes):
            data.seek(0)
        body = data if isinstance(data, bytes) else data.read()
        info = ObjectInfo(
            bucket, key, hashlib.md5(body).hexdigest(), len(body), self._now(),
            uuid4().hex if bucket in self._versioned else None, content_type,
            {name.lower(): value for name, value in (metadata or {}).items()}, self._now(),
        )  # fmt: skip
        kept = self._objects.get((bucket, key), []) if bucket in self._versioned else []
        self._objects[bucket, key] = [*kept, _Object(info, body)]
        return info

    def put_new(
        self,
        bucket: str,
        key: str,
        data: bytes | IO[bytes],
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        self._check(bucket)
        with self._lock:
            if (bucket, key) in self._objects:
                return False
            self.put(bucket, key, data, content_type, metadata)
            return True

    def copy(self, source: ObjectInfo, bucket: str, key: str, if_match: str | None = None) -> None:
        found = self._find(source.bucket, source.key, source.version)
        if if_match not in (None, found.info.etag):
            raise NotFound(Code.SOURCE_CHANGED, f"{source.bucket}/{source.key} was overwritten")
        self.put(bucket, key, found.data, found.info.content_type, found.info.metadata)

    def delete(self, bucket: str, key: str, version: str | None = None) -> None:
        self._check(bucket)
        kept = [found for found in self._objects.pop((bucket, key), []) if version and found.info.version != version]
        if kept:
            self._objects[bucket, key] = kept

    def list(self, bucket: str, prefix: str = "", start_after: str = "") -> Iterator[ObjectInfo]:
        self._check(bucket)
        found = [key for b, key in self._objects if b == bucket and key.startswith(prefix)]
        for key in sorted(found, key=str.encode):
            if key.encode() > start_after.encode() and (bucket, key) in self._objects:
                info = self._objects[bucket, key][-1].info
                yield replace(info, metadata={}, content_type="", version=None, served_at=self._now())

    def begin(self, bucket: str, key: str) -> Unfinished:
        """For tests: an upload in parts, begun now."""
        begun = Unfinished(bucket, key, uuid4().hex, self._now(), self._now())
        self._begun[begun.upload_id] = begun
        return begun

    def unfinished(self, bucket: str) -> Iterator[Unfinished]:
        self._check(bucket)
        for upload in list(self._begun.values()):
            if upload.bucket == bucket:
                yield replace(upload, served_at=self._now())

    def end(self, upload: Unfinished) -> None:
        self._check(upload.bucket)
        self._begun.pop(upload.upload_id, None)

    def list_versions(self, bucket: str) -> Iterator[ObjectInfo]:
        for info in self.list(bucket):
            yield replace(info, version=self._find(bucket, info.key, None).info.version)

    def keep_versions(self, bucket: str) -> None:
        """For tests: from now on there is such a bucket, and it keeps all versions."""
        self._buckets = (*self._buckets, bucket)
        self._versioned = (*self._versioned, bucket)

    def keys(self, bucket: str) -> tuple[str, ...]:
        """For tests: every key of a bucket."""
        return tuple(info.key for info in self.list(bucket))

    def _find(self, bucket: str, key: str, version: str | None) -> _Object:
        self._check(bucket)
        for found in reversed(self._objects.get((bucket, key), [])):
            if version in (None, "", found.info.version):
                return found
        raise NotFound(Code.SOURCE_MISSING, f"no object {bucket}/{key}")

    def _check(self, bucket: str) -> None:
        if self.unavailable:
            raise StorageUnavailable("the store is down")
        if bucket not in self._buckets:
            raise StorageUnavailable(f"NoSuchBucket on bucket {bucket!r}: check its name and the access key")

    def _now(self) -> datetime:
        return self.clock.now().replace(microsecond=0)


@dataclass(frozen=True)
class Sent:
    queue: str
    body: bytes
    headers: Mapping[str, str]


class MemoryPublisher:
    """`shared.broker.Publisher` into a list. Queues named in `refused` raise `BrokerUnavailable`."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.refused: set[str] = set()

    def publish(self, queue: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        if queue in self.refused:
            raise BrokerUnavailable("the broker did not confirm in time")
        self.sent.append(Sent(queue, body, dict(headers or {})))

    def publish_many(self, queue: str, bodies: Iterable[bytes], headers: Mapping[str, str] | None = None) -> None:
        for body in bodies:
            self.publish(queue, body, headers)

    def bodies(self, queue: str) -> list[bytes]:
        return [sent.body for sent in self.sent if sent.queue == queue]
