"""The first look at a source: what is in it, and what it says of itself. No photo is
read for it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import Literal

from infra.ingest import checksums, manifest, sidecars
from infra.ingest import photo as photos
from infra.ingest.checksums import Checksum
from infra.ingest.manifest import Manifest, Row
from infra.ingest.members import ItemFault, Member, Refused
from infra.ingest.sources import Source, read
from shared.errors import Code, SettingsError
from shared.runtime.installation import how_to_add
from shared.uploads import photo_files

Backs = Literal["carry", "restore", "skip"]

VIDEO_SUFFIXES = frozenset((".mov", ".mp4", ".m4v", ".avi", ".mpg", ".3gp", ".mkv"))
"""Beside a photo of the same name it is the moving part of a Live Photo."""
LIST_SUFFIXES = (".md5", ".sha1", ".sha256", ".sha512")
MOST_LIST_BYTES = 256 << 20
BAG = "bagit.txt"
METADATA = "metadata/metadata.csv"
BACK = "_b"
"""Epson's scanners name the back of a print so, beside its front."""


@dataclass
class Inventory:
    """What a source holds.

    `photos`: paths that are to be sent, in the order of the source. `skipped`: path →
    why a file is not sent, which is no failure. `faults`: what is wrong already.
    `checksums`: of lists in the source, by path. `is_complete`: the lists name every
    photo, as those of a bag do. `sidecars`: their words, by their path without `.xmp`.
    `marks`: of the photos, as `Member` has them.
    """

    bag: str | None = None
    photos: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    faults: list[Refused] = field(default_factory=list)
    checksums: dict[str, Checksum] = field(default_factory=dict)
    manifest: Manifest = field(default_factory=Manifest)
    is_complete: bool = False
    sidecars: dict[str, dict[str, str]] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)

    def words_of(self, path: str) -> dict[str, str]:
        """What is said of a photo beside it: its row holds, then its sidecar, which is
        named after the photo with its suffix, or without.
        """
        if not self.sidecars and not self.manifest.rows:
            return {}
        told = self.sidecars.get(path, self.sidecars.get(_stem(path), {}))
        row = self.row_of(path)
        return {**told, **(row.words if row else {})}

    @property
    def bytes(self) -> int:
        """Bytes of all photos together, as the source states them."""
        return sum(self.photos.values())

    def row_of(self, path: str) -> Row | None:
        """The manifest's row of a photo."""
        return self.manifest.row_of(path)

    def checksum_of(self, path: str) -> Checksum | None:
        """What the bytes of a photo should add up to; a manifest's row comes first."""
        row = self.row_of(path)
        if row and row.checksum:
            return row.checksum
        # Bags write a line's end, and should write a percent sign, by its number.
        escaped = path.replace("%", "%25").replace("\n", "%0A").replace("\r", "%0D")
        lines_only = path.replace("\n", "%0A").replace("\r", "%0D")
        for spelling in (path, escaped, lines_only):
            if spelling in self.checksums:
                return self.checksums[spelling]
        return None


def taken(
    source: Source,
    *,
    backs: Backs = "carry",
    given: Manifest | None = None,
    lists: Iterable[tuple[str, bytes]] = (),
    require_checksums: bool = False,
) -> Inventory:
    """Look at every name of a source, and read its lists.

    `given`, `lists`: a manifest, and lists of checksums by name, beside the source.
    Raises `SettingsError` where a list cannot be read, or a bag asks for files from
    elsewhere.
    """
    found = Inventory(is_complete=require_checksums)
    names: set[str] = set()
    for member in source.members():
        if isinstance(member, Refused):
            found.faults.append(member)
        else:
            names.add(member.path)
            _sort(found, member)
    if given is not None:
        found.manifest = given
    for name, data in lists:
        _add_list(found, name, data, "")
    _leave_out_of_bag(found)
    _leave_out_backs(found, backs)
    _compare(found, names)
    return found


def _sort(found: Inventory, member: Member) -> None:
    folder, _, name = member.path.rpartition("/")
    suffix = posixpath.splitext(name)[1].lower()
    if name == BAG:
        found.bag = f"{folder}/" if folder else ""
        found.is_complete = True
    if name == "fetch.txt":
        raise SettingsError(
            f"{member.path}: this bag asks for files from elsewhere; put them into it"
        )
    if member.path.endswith(METADATA):
        found.manifest = manifest.parse(read(member, manifest.MOST_BYTES), member.path)
    elif is_list(member.path):
        _add_list(
            found, member.path, read(member, MOST_LIST_BYTES), base_of_list(member.path)
        )
    elif suffix == sidecars.SUFFIX:
        found.skipped[member.path] = _read_sidecar(found, member)
    elif suffix in photo_files.SUFFIXES:
        found.photos[member.path] = member.size
        found.marks[member.path] = member.mark
    else:
        found.skipped[member.path] = _why_skipped(suffix)


def _read_sidecar(found: Inventory, member: Member) -> str:
    """Keep what a sidecar says; return what becomes of its file."""
    try:
        words = sidecars.words_of(read(member, sidecars.MOST_BYTES))
    except (ValueError, ItemFault) as error:
        return f"sidecar that cannot be read: {error}"
    found.sidecars[member.path[: -len(sidecars.SUFFIX)]] = words
    return "sidecar"


def is_list(name: str) -> bool:
    """Whether a file is a list of checksums, by its name."""
    file = name.rpartition("/")[2]
    is_of_bag = "manifest-" in file and file.endswith(".txt")
    return is_of_bag or file.lower().endswith(LIST_SUFFIXES)


def base_of_list(name: str) -> str:
    """Where the paths of a list begin: at its folder, in Archivematica's transfers at
    the folder above it.
    """
    folder = PurePosixPath(name).parent
    if folder.name == "metadata":
        folder = folder.parent
    return "" if folder == PurePosixPath() else f"{folder}/"


def _add_list(found: Inventory, name: str, data: bytes, base: str) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{name} is not UTF-8 (byte {error.start}); write the list again"
        ) from error
    for path, checksum in checksums.parse(text, name).items():
        whole = base + path.removeprefix("../")
        known = found.checksums.get(whole)
        # Of several algorithms the longest digest is checked.
        if known is None or len(checksum.digest) > len(known.digest):
            found.checksums[whole] = checksum


def _why_skipped(suffix: str) -> str:
    if suffix == ".pdf" and find_spec("pypdf") is not None:
        return "a PDF, whose pictures are taken"
    if suffix == ".pdf":
        return f"a PDF; for its pictures {how_to_add('archive')}"
    if suffix in VIDEO_SUFFIXES:
        return "a video, left alone"
    return f"no photo ({suffix})" if suffix else "no photo"


def _leave_out_of_bag(found: Inventory) -> None:
    """A bag's photos lie in its payload; in Archivematica's transfers what describes
    them lies in `metadata`.
    """
    if found.bag is not None:
        payload = f"{found.bag}data/"
        _skip(found, lambda path: not path.startswith(payload), "beside the bag's data")
    starts = ("metadata/submissionDocumentation/", "data/metadata/", "logs/")
    base = found.bag or ""
    _skip(
        found,
        lambda path: path.removeprefix(base).startswith(starts),
        "documentation",
    )


def _leave_out_backs(found: Inventory, backs: Backs) -> None:
    if backs == "restore":
        return
    stems = {_stem(path) for path in found.photos}

    def is_back(path: str) -> bool:
        stem = _stem(path)
        front = stem.removesuffix(BACK)
        return stem.endswith(BACK) and (front in stems or f"{front}_a" in stems)

    why = "back of a print, carried along" if backs == "carry" else "back of a print"
    _skip(found, is_back, why)


def _stem(path: str) -> str:
    # Made for every name of a source, several times: a path object takes ten times as
    # long.
    return posixpath.splitext(path)[0]


def _skip(found: Inventory, is_left_out: Callable[[str], bool], why: str) -> None:
    for path in [path for path in found.photos if is_left_out(path)]:
        del found.photos[path]
        found.skipped[path] = why


def _compare(found: Inventory, names: set[str]) -> None:
    """What lists name and is not there, and what is there and not listed."""
    detail = "stands in a list of checksums and is not there"
    for path in found.checksums:
        if not {path, _unescaped(path)} & names:
            _fault(found, path, Code.MISSING_IN_SOURCE, detail)
    for path in found.manifest.rows:
        if not any(f"{start}{path}" in names for start in _starts(found)):
            _fault(found, path, Code.MISSING_IN_SOURCE, "has a row and is not there")
    for path, listed in found.manifest.rows.items():
        if listed.fault:
            found.faults.append(Refused(path, listed.fault))
    for path in [*found.photos] if found.is_complete else []:
        file = path.rpartition("/")[0] if ".pdf/" in path.lower() else path
        if found.checksum_of(file) is None:
            detail = "has no checksum in any list, and all must have one here"
            _fault(found, path, Code.UNLISTED_IN_MANIFEST, detail)
            del found.photos[path]
    for path in [*found.photos]:
        row = found.row_of(path)
        if row and row.fault:
            del found.photos[path]


def _starts(found: Inventory) -> tuple[str, ...]:
    base = found.bag or ""
    return tuple(base + start for start in manifest.OBJECTS)


def _unescaped(path: str) -> str:
    plain = path.replace("%0A", "\n").replace("%0a", "\n").replace("%0D", "\r")
    return plain.replace("%25", "%")


def _fault(found: Inventory, path: str, code: Code, detail: str) -> None:
    sentence = f"{path!r} {detail}"
    found.faults.append(Refused(path, ItemFault(code, sentence)))


@dataclass
class Twins:
    """Photos with the bytes of an earlier one: path → the earlier one's path."""

    by_path: dict[str, str] = field(default_factory=dict)
    _first: dict[bytes, str] = field(default_factory=dict)

    def add(self, path: str, sha256: bytes) -> None:
        """Note a photo."""
        first = self._first.setdefault(sha256, path)
        if first != path:
            self.by_path[path] = first


def read_all(source: Source, found: Inventory, most: int) -> Twins:
    """Read every photo and add to the faults whatever is wrong with one.

    `most`: the bytes that a photo may have.
    """
    twins = Twins()
    for member in source.members():
        if isinstance(member, Refused) or member.path not in found.photos:
            continue
        try:
            photo = photos.read(member, found.checksum_of(member.path), most)
        except ItemFault as fault:
            found.faults.append(Refused(member.path, fault))
            continue
        photo.body.close()
        twins.add(member.path, photo.sha256)
    return twins
