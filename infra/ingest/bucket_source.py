"""A prefix of a bucket as a source: `s3://bucket/prefix`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, cast

from infra.ingest.members import ItemFault, Member, Refused, check_path
from shared.errors import SettingsError
from shared.s3.objects import ObjectInfo
from shared.s3.store import ObjectStore

SCHEME = "s3://"


class Bucket:
    """All objects below a prefix, which ends at a folder: `scans` does not take in
    `scans-2`.
    """

    def __init__(self, url: str, store: ObjectStore) -> None:
        """Raises `SettingsError` for an address without a bucket."""
        self._bucket, self._prefix = place_of(url)
        self.name = self._prefix.rstrip("/").rpartition("/")[2] or self._bucket
        self._store = store

    def members(self) -> Iterator[Member | Refused]:
        for info in self._store.list(self._bucket, self._prefix):
            # What some consoles write for an empty folder is no file.
            if not info.key.endswith("/"):
                yield self._member(info)

    def _member(self, info: ObjectInfo) -> Member | Refused:
        path = info.key.removeprefix(self._prefix)
        try:
            check_path(path)
        except ItemFault as fault:
            return Refused(path, fault)
        mark = f"{info.bytes}:{info.etag}"
        return Member(path, info.bytes, mark, partial(self._opened, info.key))

    @contextmanager
    def _opened(self, key: str) -> Iterator[IO[bytes]]:
        with self._store.open(self._bucket, key) as stream:
            yield cast("IO[bytes]", _Chunks(stream.chunks()))


def place_of(url: str) -> tuple[str, str]:
    """Bucket and prefix, which is empty or ends with `/`, of `s3://bucket/prefix`.

    Raises `SettingsError`.
    """
    bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
    if not url.startswith(SCHEME) or not bucket:
        raise SettingsError(f"{url}: no bucket; write s3://BUCKET/PREFIX")
    prefix = prefix.strip("/")
    return bucket, f"{prefix}/" if prefix else ""


class _Chunks:
    """Pieces of bytes as a file that is read once, from its beginning."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def read(self, size: int) -> bytes:
        """So many bytes at most; none at the end."""
        if not self._left:
            self._left = next(self._chunks, b"")
        piece, self._left = self._left[:size], self._left[size:]
        return piece
