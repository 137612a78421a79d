"""A store of which every call is a sign of life, for loops of which one round may take
long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import IO, TypeVar

from shared.runtime.heartbeat import Pulse
from shared.s3.store import ObjectInfo, ObjectStore, ObjectStream, Unfinished

MAX_QUIET_S = 180.0
"""Longer than one call to a store that hangs, with all its retries."""

T = TypeVar("T")


def heartbeat_store(store: ObjectStore, pulse: Pulse) -> ObjectStore:
    """Return the same store; `pulse` beats at every call and at every listed object."""
    return _HeartbeatStore(store, pulse)


class _HeartbeatStore:
    def __init__(self, store: ObjectStore, pulse: Pulse) -> None:
        self._store = store
        self._pulse = pulse

    def open(
        self, bucket: str, key: str, version: str | None = None
    ) -> AbstractContextManager[ObjectStream]:
        self._pulse.beat()
        stream: AbstractContextManager[ObjectStream]
        stream = self._store.open(bucket, key, version)
        return stream

    def read(self, bucket: str, key: str, version: str | None = None) -> bytes:
        self._pulse.beat()
        return self._store.read(bucket, key, version)

    def read_same(self, known: ObjectInfo) -> bytearray:
        self._pulse.beat()
        return self._store.read_same(known)

    def head(self, bucket: str, key: str, version: str | None = None) -> ObjectInfo:
        self._pulse.beat()
        return self._store.head(bucket, key, version)

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes | IO[bytes],
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        self._pulse.beat()
        return self._store.put(bucket, key, data, content_type, metadata)

    def put_new(
        self,
        bucket: str,
        key: str,
        data: bytes | IO[bytes],
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        self._pulse.beat()
        return self._store.put_new(bucket, key, data, content_type, metadata)

    def copy(
        self, source: ObjectInfo, bucket: str, key: str, if_match: str | None = None
    ) -> None:
        self._pulse.beat()
        self._store.copy(source, bucket, key, if_match)

    def delete(self, bucket: str, key: str, version: str | None = None) -> None:
        self._pulse.beat()
        self._store.delete(bucket, key, version)

    def list(
        self, bucket: str, prefix: str = "", start_after: str = ""
    ) -> Iterator[ObjectInfo]:
        return self._each(self._store.list(bucket, prefix, start_after))

    def list_versions(self, bucket: str, start_after: str = "") -> Iterator[ObjectInfo]:
        return self._each(self._store.list_versions(bucket, start_after))

    def every_version(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        return self._each(self._store.every_version(bucket, prefix))

    def unfinished(self, bucket: str) -> Iterator[Unfinished]:
        return self._each(self._store.unfinished(bucket))

    def end(self, upload: Unfinished) -> None:
        self._pulse.beat()
        self._store.end(upload)

    def _each(self, items: Iterator[T]) -> Iterator[T]:
        for item in items:
            self._pulse.beat()
            yield item
