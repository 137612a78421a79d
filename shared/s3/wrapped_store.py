"""An object store around another one, for what is the same for all of its calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import IO, TypeVar

from shared.s3.store import ObjectInfo, ObjectStore, ObjectStream, Unfinished

T = TypeVar("T")


class WrappedStore:
    """Passes every call on. Subclasses override how a call, a write and a listing are
    made; the methods are those of `ObjectStore`.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def _call(self, request: Callable[[], T]) -> T:
        """Make one request that writes no object."""
        return request()

    def _write(self, request: Callable[[], T]) -> T:
        """Make one request that writes an object."""
        return self._call(request)

    def _iterate(self, items: Iterator[T]) -> Iterator[T]:
        """Go through a listing, whose requests are made while it is read."""
        return items

    def open(
        self, bucket: str, key: str, version: str | None = None
    ) -> AbstractContextManager[ObjectStream]:
        opened: AbstractContextManager[ObjectStream]
        opened = self._store.open(bucket, key, version)
        return opened

    def read(self, bucket: str, key: str, version: str | None = None) -> bytes:
        return self._call(lambda: self._store.read(bucket, key, version))

    def read_same(self, known: ObjectInfo) -> bytearray:
        return self._call(lambda: self._store.read_same(known))

    def read_part(self, known: ObjectInfo, start: int, length: int) -> bytes:
        return self._call(lambda: self._store.read_part(known, start, length))

    def head(self, bucket: str, key: str, version: str | None = None) -> ObjectInfo:
        return self._call(lambda: self._store.head(bucket, key, version))

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes | IO[bytes],
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        return self._write(
            lambda: self._store.put(bucket, key, data, content_type, metadata)
        )

    def put_new(
        self,
        bucket: str,
        key: str,
        data: bytes | IO[bytes],
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        return self._write(
            lambda: self._store.put_new(bucket, key, data, content_type, metadata)
        )

    def copy(
        self, source: ObjectInfo, bucket: str, key: str, if_match: str | None = None
    ) -> None:
        self._write(lambda: self._store.copy(source, bucket, key, if_match))

    def delete(self, bucket: str, key: str, version: str | None = None) -> None:
        self._call(lambda: self._store.delete(bucket, key, version))

    def end(self, upload: Unfinished) -> None:
        self._call(lambda: self._store.end(upload))

    def list(
        self, bucket: str, prefix: str = "", start_after: str = ""
    ) -> Iterator[ObjectInfo]:
        return self._iterate(self._store.list(bucket, prefix, start_after))

    def unfinished(self, bucket: str) -> Iterator[Unfinished]:
        return self._iterate(self._store.unfinished(bucket))

    def list_versions(self, bucket: str, start_after: str = "") -> Iterator[ObjectInfo]:
        return self._iterate(self._store.list_versions(bucket, start_after))

    def every_version(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        return self._iterate(self._store.every_version(bucket, prefix))
