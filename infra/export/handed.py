"""What is handed out of a result: the PNG itself, or one of its copies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from uuid import NAMESPACE_URL, uuid5

from shared.uploads import keys
from shared.uploads.documents import Copy, Record

SUFFIX_OF_JPEG = ".jpg"
FORMATS = {
    ".png": "PNG",
    SUFFIX_OF_JPEG: "JPEG",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".tif": "TIFF",
    ".jp2": "JPEG2000",
}
"""The name of a format by the end of its key."""


@dataclass(frozen=True)
class Signed:
    """Content credentials of a file: by whom, by which certificate (its SHA-256), kind
    of signature and software, when, and where they lie.
    """

    subject: str
    fingerprint: str
    algorithm: str
    software: str
    at: datetime
    place: str


@dataclass(frozen=True)
class Handed:
    """One file of a result. `word` asked for it; `path` is its place in the export.

    `file`: where it lies on this machine, for a copy that was made for the export; then
    its checksum is known once it is written.
    """

    identifier: str
    word: str
    key: str
    sha256: str
    bytes: int
    is_labelled: bool = False
    path: str = ""
    file: Path | None = None
    signed: Signed | None = None

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.key).suffix

    @property
    def format(self) -> str:
        return FORMATS.get(self.suffix, "")


LABELLED = "labelled"

Described = tuple[Record, str, Handed]
"""A record, the path of its original, and a file of its result."""


def results_in(record: Record, word: str) -> Iterator[Handed]:
    """The files of a result that a format asks for: of `labelled` those with the visible
    label; none where no such copy was made.
    """
    if word == "png":
        yield Handed(
            record.task_id,
            word,
            record.result_key,
            record.result_sha256,
            record.result_bytes,
        )
    for copy in record.copies:
        if word == (LABELLED if copy.labelled else copy.format):
            yield _of_copy(copy, word)


def made_for_export(task_id: str, word: str, extension: str, file: Path) -> Handed:
    """A copy that lies in no bucket, named as if it did."""
    is_labelled = word == LABELLED
    key = keys.copy(task_id, extension, is_labelled)
    identifier = str(uuid5(NAMESPACE_URL, f"darkroom:{key}"))
    size = file.stat().st_size
    return Handed(identifier, word, key, "", size, is_labelled, file=file)


def _of_copy(copy: Copy, word: str) -> Handed:
    identifier = str(uuid5(NAMESPACE_URL, f"darkroom:{copy.key}"))
    return Handed(identifier, word, copy.key, copy.sha256, copy.bytes, copy.labelled)
