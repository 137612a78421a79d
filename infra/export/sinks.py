"""Where an export is written: a folder, one ZIP file, or a prefix of a bucket; whole
files, or none.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Protocol, cast

from infra.ingest.bucket_source import place_of
from infra.ingest.members import check_path
from infra.ingest.photo import MEMORY_BYTES
from shared.errors import SettingsError
from shared.s3.store import ObjectStore

FIRST_YEAR, LAST_YEAR = 1980, 2107
"""Of the times that a ZIP file can hold, on the clock of a place."""
_FIRST = (FIRST_YEAR, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Written:
    """A file of an export."""

    size: int
    sha256: str
    sha512: str


class Sink(Protocol):
    """Takes the files of an export, and remembers their checksums by path.

    `write` raises `ItemFault(unsafe_path)` for a path that leads out of the export:
    names in it come from documents in a bucket.
    """

    written: dict[str, Written]

    def write(
        self, path: str, chunks: Iterable[bytes], modified_at: datetime | None = None
    ) -> Written:
        """Write a file, which gets this time where the place has one. What raises while
        the chunks come leaves no file.
        """


class FolderSink:
    """A folder, which is empty or new: nothing is written over."""

    def __init__(self, place: Path) -> None:
        self.written: dict[str, Written] = {}
        self._place = place

    def write(
        self, path: str, chunks: Iterable[bytes], modified_at: datetime | None = None
    ) -> Written:
        check_path(path)
        file = self._place / path
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{hashlib.sha256(path.encode()).hexdigest()[:16]}.part")
        sums = _Sums()
        try:
            with part.open("wb") as out:
                for chunk in sums.of(chunks):
                    out.write(chunk)
            if modified_at:
                # Not every disk has room for every time.
                with suppress(OSError):
                    os.utime(part, (modified_at.timestamp(),) * 2)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
        self.written[path] = sums.written()
        return self.written[path]


class ZipSink:
    """A ZIP file without compression: photographs are compressed already."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.written: dict[str, Written] = {}
        self._archive = archive

    def write(
        self, path: str, chunks: Iterable[bytes], modified_at: datetime | None = None
    ) -> Written:
        check_path(path)
        sums = _Sums()
        info = zipfile.ZipInfo(path)
        if modified_at and FIRST_YEAR <= modified_at.year <= LAST_YEAR:
            local = modified_at.astimezone()
            info.date_time = max(local.timetuple()[:6], _FIRST)
        # A source that breaks off breaks the archive off, too: the file of a ZIP file
        # cannot be taken back.
        with self._archive.open(info, "w", force_zip64=True) as out:
            for chunk in sums.of(chunks):
                out.write(chunk)
        self.written[path] = sums.written()
        return self.written[path]


class BucketSink:
    """A prefix of a bucket, below which there is nothing yet."""

    def __init__(self, url: str, store: ObjectStore) -> None:
        """Raises `SettingsError` where something is there already."""
        self.written: dict[str, Written] = {}
        self._store = store
        self._bucket, self._prefix = place_of(url)
        if next(iter(store.list(self._bucket, self._prefix)), None):
            raise SettingsError(f"{url} is there already; name another prefix")

    def write(
        self, path: str, chunks: Iterable[bytes], modified_at: datetime | None = None
    ) -> Written:
        check_path(path)
        sums = _Sums()
        kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
        # An object's size is sent before its bytes, and not every source knows it.
        with SpooledTemporaryFile(MEMORY_BYTES) as body:
            for chunk in sums.of(chunks):
                body.write(chunk)
            body.seek(0)
            key = f"{self._prefix}{path}"
            # The time at which it was put is the object's only one; rclone's word for
            # the file's own is this.
            told = {"mtime": f"{modified_at.timestamp()}"} if modified_at else {}
            self._store.put(self._bucket, key, cast("IO[bytes]", body), kind, told)
        self.written[path] = sums.written()
        return self.written[path]


@contextmanager
def opened(place: Path) -> Iterator[Sink]:
    """The sink at a place; a ZIP file appears when it is whole.

    Raises `SettingsError` where something is there already.
    """
    if place.suffix.lower() == ".zip":
        if place.exists():
            raise SettingsError(f"{place} is there already; name another file")
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f"{place.name}.part")
        try:
            with zipfile.ZipFile(part, "w") as archive:
                yield ZipSink(archive)
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
        return
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise SettingsError(f"{place} is there already and not empty; name another one")
    place.mkdir(parents=True, exist_ok=True)
    yield FolderSink(place)


class _Sums:
    def __init__(self) -> None:
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._sha512 = hashlib.sha512()

    def of(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._size += len(chunk)
            self._sha256.update(chunk)
            self._sha512.update(chunk)
            yield chunk

    def written(self) -> Written:
        return Written(self._size, self._sha256.hexdigest(), self._sha512.hexdigest())
