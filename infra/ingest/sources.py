"""What albums and archives come in: folders, ZIP and TAR files, and prefixes of
buckets. Nothing is unpacked; each file is read as a stream.
"""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO, Protocol

from infra.ingest import file_times
from infra.ingest.members import ItemFault, Member, Refused, SeenOnce
from infra.ingest.members import check_mode as _check_mode
from infra.ingest.members import check_path as _check_path
from shared.errors import Code, SettingsError

ENCRYPTED = 0x1
"""Bit of a ZIP member's flags."""
BOMB_RATIO = 300
"""A photo never packs so well."""
BOMB_BYTES = 16 << 20
"""What is smaller when it is unpacked harms nobody."""
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
ZIP_SUFFIXES = (".zip",)


class Source(Protocol):
    """A place with files in it."""

    name: str

    def members(self) -> Iterator[Member | Refused]:
        """Every file, in the same order each time. A member is opened before the next
        one is asked for, or never.
        """


def opened(place: Path) -> Source:
    """The source at a place. Raises `SettingsError` for what is none."""
    if place.is_dir():
        return Folder(place)
    lower = place.name.lower()
    if lower.endswith(ZIP_SUFFIXES) and place.is_file():
        return ZipArchive(place)
    if lower.endswith(TAR_SUFFIXES) and place.is_file():
        return TarArchive(place)
    if not place.exists():
        raise SettingsError(f"{place} does not exist")
    endings = " ".join((*ZIP_SUFFIXES, *TAR_SUFFIXES))
    raise SettingsError(
        f"{place} is neither a folder nor an archive ({endings}); "
        "`darkroom submit` sends single photos"
    )


class Folder:
    """A folder with all that is below it. Links are refused, not followed."""

    def __init__(self, place: Path) -> None:
        self.name = place.resolve().name
        self._place = place

    def members(self) -> Iterator[Member | Refused]:
        for folder, folders, files in os.walk(self._place):
            folders.sort()
            links = [name for name in folders if (Path(folder) / name).is_symlink()]
            for name in sorted(files + links):
                yield self._member(Path(folder) / name)

    def _member(self, file: Path) -> Member | Refused:
        path = file.relative_to(self._place).as_posix()
        try:
            _check_path(path)
            status = file.lstat()
            _check_mode(path, status.st_mode)
        except ItemFault as fault:
            return Refused(path, fault)
        mark = f"{status.st_size}:{status.st_mtime_ns}"
        modified_at = file_times.of_seconds(status.st_mtime)
        size = status.st_size
        return Member(path, size, mark, lambda: file.open("rb"), modified_at)


class ZipArchive:
    """A ZIP file."""

    def __init__(self, place: Path) -> None:
        self.name = place.stem
        self._place = place

    def members(self) -> Iterator[Member | Refused]:
        seen = SeenOnce()
        with _readable(self._place), zipfile.ZipFile(self._place) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    yield self._member(archive, info, seen)

    def _member(
        self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, seen: SeenOnce
    ) -> Member | Refused:
        path = info.filename
        try:
            _check_path(path)
            _check_mode(path, info.external_attr >> 16)
            seen.check(path)
            _check_packing(info)
        except ItemFault as fault:
            return Refused(path, fault)
        mark = f"{info.file_size}:{info.CRC:08x}"
        opened = partial(archive.open, info)
        return Member(path, info.file_size, mark, opened, file_times.of_zipped(info))


class TarArchive:
    """A TAR file, packed or not, read from its beginning to its end."""

    def __init__(self, place: Path) -> None:
        self.name = place.name.partition(".")[0]
        self._place = place

    def members(self) -> Iterator[Member | Refused]:
        seen = SeenOnce()
        with (
            _readable(self._place),
            self._place.open("rb") as file,
            tarfile.open(fileobj=file, mode="r|*") as archive,
        ):
            for info in archive:
                _check_ratio(self._place, archive.offset, file.tell())
                if not info.isdir():
                    yield self._member(archive, info, seen)

    def _member(
        self, archive: tarfile.TarFile, info: tarfile.TarInfo, seen: SeenOnce
    ) -> Member | Refused:
        path = info.name.removeprefix("./")
        try:
            _check_path(path)
            _check_kind(info)
            seen.check(path)
        except ItemFault as fault:
            return Refused(path, fault)
        stream = archive.extractfile(info)
        assert stream is not None
        mark = f"{info.size}:{info.mtime}"
        modified_at = file_times.of_seconds(info.mtime)
        return Member(path, info.size, mark, lambda: nullcontext(stream), modified_at)


@contextmanager
def _readable(place: Path) -> Iterator[None]:
    """Raises `SettingsError` where the archive itself cannot be read."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        detail = f"{place} cannot be read to its end: {error}; pack or copy it again"
        raise SettingsError(detail) from error


def _check_packing(info: zipfile.ZipInfo) -> None:
    """Raises `ItemFault` with `encrypted` or `archive_bomb`."""
    path = info.filename
    if info.flag_bits & ENCRYPTED:
        detail = f"{path!r} is encrypted; pack it again without a password"
        raise ItemFault(Code.ENCRYPTED, detail)
    is_large = info.file_size > BOMB_BYTES
    if is_large and info.file_size > BOMB_RATIO * info.compress_size:
        detail = (
            f"{path!r} claims {info.file_size:,} bytes packed into "
            f"{info.compress_size:,}, more than {BOMB_RATIO} to 1; no photo packs so well"
        )
        raise ItemFault(Code.ARCHIVE_BOMB, detail)


def _check_ratio(place: Path, unpacked: int, packed: int) -> None:
    """Raises `SettingsError` for a packed TAR file that is mostly nothing: what is
    behind can only be reached through it.
    """
    if unpacked > BOMB_BYTES and unpacked > BOMB_RATIO * packed:
        raise SettingsError(
            f"{place} unpacks to more than {BOMB_RATIO} times its size "
            f"({unpacked:,} bytes so far); no photo packs so well"
        )


def _check_kind(info: tarfile.TarInfo) -> None:
    """Raises `ItemFault(unsafe_path)` for all but plain files."""
    if not info.isreg():
        what = "a link" if info.issym() or info.islnk() else "no plain file"
        detail = f"{info.name!r} is {what}; put the file itself in its place"
        raise ItemFault(Code.UNSAFE_PATH, detail)


def read(member: Member, most: int) -> bytes:
    """The bytes of a small file. Raises `ItemFault` with `too_large` or
    `source_unreadable`.
    """
    try:
        with member.opened() as file:
            data = _read_up_to(file, most + 1)
    except Exception as error:  # whatever a damaged archive makes of one member
        detail = f"{member.path!r} cannot be read: {error}; copy it again"
        raise ItemFault(Code.SOURCE_UNREADABLE, detail) from error
    if len(data) > most:
        detail = f"{member.path!r} has more than {most:,} bytes"
        raise ItemFault(Code.TOO_LARGE, detail)
    return data


def _read_up_to(file: IO[bytes], most: int) -> bytes:
    pieces = []
    left = most
    while left and (piece := file.read(left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
