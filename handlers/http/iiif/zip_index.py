"""Where in a pyramid's ZIP each tile lies, read from the end of the ZIP by ranges, and
kept for a while.
"""

from __future__ import annotations

import io
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from shared.errors import NotFound, PermanentError
from shared.s3.clock import Clock
from shared.s3.objects import ObjectInfo
from shared.s3.store import ObjectStore
from shared.uploads.keys import Picture
from shared.uploads.pyramids import Pyramid

MOST_ENTRIES = 200_000
"""In all indexes together, of some two hundred bytes each."""
FRESH_S = 60.0
"""How long the right to a picture is not asked for again."""
TAIL_BYTES = 1 << 16
"""Read at once: the whole index of 180 megapixels."""
LOCAL_HEADER_BYTES = 30
"""Before the name of an entry, behind which its bytes begin."""

Key = tuple[str, UUID, Picture]
"""Who asks, and for which picture of which task."""


class Entry(NamedTuple):
    start: int
    length: int


class Index(NamedTuple):
    """`entries`: by their names in the ZIP. `read_at_s`: monotonic."""

    pyramid: Pyramid
    entries: dict[str, Entry]
    read_at_s: float


class Indexes:
    """The indexes of the pyramids that are looked at, the latest ones. Thread-safe."""

    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._kept: OrderedDict[Key, Index] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key, find: Callable[[], Pyramid | None]) -> Index | None:
        """The index for whoever asks; `find` finds the pyramid, and raises where they
        may not see it. None: there is no pyramid yet.
        """
        now_s = self._clock.monotonic()
        with self._lock:
            kept = self._kept.get(key)
        if kept and now_s - kept.read_at_s < FRESH_S:
            return kept
        pyramid = find()
        if pyramid is None:
            return None
        is_same = kept is not None and kept.pyramid.info.etag == pyramid.info.etag
        if kept and is_same:
            index = kept._replace(read_at_s=now_s)
        else:
            index = Index(pyramid, _entries(self._store, pyramid.info), now_s)
        self._keep(key, index)
        return index

    def read(self, key: Key, index: Index, entry: Entry) -> bytes:
        """The bytes of an entry. Raises `NotFound` where the pyramid is not there any
        more.
        """
        try:
            return self._store.read_part(index.pyramid.info, *entry)
        except PermanentError as error:
            with self._lock:
                self._kept.pop(key, None)
            raise NotFound(error.code, "the tiles are not there any more") from error

    def _keep(self, key: Key, index: Index) -> None:
        with self._lock:
            self._kept[key] = index
            self._kept.move_to_end(key)
            entries = sum(len(each.entries) for each in self._kept.values())
            while entries > MOST_ENTRIES and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                entries -= len(oldest.entries)


def _entries(store: ObjectStore, info: ObjectInfo) -> dict[str, Entry]:
    with zipfile.ZipFile(_Ranges(store, info)) as archive:
        return {
            each.filename: Entry(
                each.header_offset + LOCAL_HEADER_BYTES + len(each.filename),
                each.file_size,
            )
            for each in archive.infolist()
        }


class _Ranges(io.RawIOBase):
    """An object as a file that is read by ranges; its end is read once."""

    def __init__(self, store: ObjectStore, info: ObjectInfo) -> None:
        super().__init__()
        self._store = store
        self._info = info
        self._at = 0
        self._tail_at = max(0, info.bytes - TAIL_BYTES)
        self._tail = store.read_part(info, self._tail_at, info.bytes - self._tail_at)

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._info.bytes}
        at = base[whence] + offset
        if at < 0:
            raise OSError("before the beginning of the file")
        self._at = at
        return at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._info.bytes - self._at)
        length = left if size is None or size < 0 else min(size, left)
        start = self._at
        self._at += length
        if length == 0:
            return b""
        if start < self._tail_at:
            return self._store.read_part(self._info, start, length)
        return self._tail[start - self._tail_at :][:length]
