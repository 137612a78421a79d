"""CSV manifests: one row a photo. Archivematica's `metadata.csv` is one as it is."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from typing import Any

from infra.ingest import checksums
from infra.ingest.checksums import Checksum
from infra.ingest.members import ItemFault
from shared.errors import Code, SettingsError

MOST_BYTES = 64 << 20
FILENAME = "filename"
OBJECTS = ("objects/", "data/objects/", "data/", "")
"""Where Archivematica's rows, and those of bags, begin to count."""


@dataclass(frozen=True)
class Row:
    """What a manifest says of one photo. `words`: its columns as they came."""

    number: int
    words: dict[str, str]
    checksum: Checksum | None = None
    size: int | None = None
    workflow: str | None = None
    params: dict[str, Any] | None = None
    fault: ItemFault | None = None


@dataclass
class Manifest:
    """The rows of a manifest by path."""

    rows: dict[str, Row] = field(default_factory=dict)

    def row_of(self, path: str) -> Row | None:
        """The row of a photo; rows may leave out the folder of all objects."""
        for start in OBJECTS:
            if path.startswith(start):
                row = self.rows.get(path.removeprefix(start))
                if row is not None:
                    return row
        return None


def parse(data: bytes, name: str) -> Manifest:
    """Read a manifest. `name`: its own, for the errors.

    A row that breaks a rule has a fault, and costs its own photo. Raises `SettingsError`
    for a file that is no manifest.
    """
    reader = csv.DictReader(io.StringIO(_text(data, name), newline=""), strict=True)
    columns = [column.strip() for column in reader.fieldnames or []]
    if not columns or FILENAME not in (column.lower() for column in columns):
        raise SettingsError(
            f"{name} has no column `filename`; its first line names the columns"
        )
    reader.fieldnames = columns
    manifest = Manifest()
    try:
        for words in reader:
            _add(manifest, words, f"{name}, line {reader.line_num}", reader.line_num)
    except csv.Error as error:
        raise SettingsError(f"{name}, line {reader.line_num}: {error}") from error
    return manifest


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        detail = f"{name} is not UTF-8 (byte {error.start}); save it as UTF-8"
        raise SettingsError(detail) from error


def _add(manifest: Manifest, words: dict[Any, Any], where: str, number: int) -> None:
    path = (_word(words, FILENAME) or "").removeprefix("./")
    if not path:
        raise SettingsError(f"{where}: no file name; name one, or take the row out")
    if path in manifest.rows:
        raise SettingsError(f"{where}: a second row of {path!r}; keep one")
    kept = {key: value for key, value in words.items() if key and value}
    try:
        manifest.rows[path] = _row(kept, words, number)
    except (ItemFault, SettingsError) as error:
        fault = ItemFault(Code.BAD_MANIFEST_ROW, f"{where}: {error.detail}")
        manifest.rows[path] = Row(number, kept, fault=fault)


def _row(kept: dict[str, str], words: dict[Any, Any], number: int) -> Row:
    if None in words:
        raise ItemFault(Code.BAD_MANIFEST_ROW, "more cells than the first line names")
    return Row(
        number=number,
        words=kept,
        checksum=_checksum(words),
        size=_size(words),
        workflow=_word(words, "workflow"),
        params=_params(words),
    )


def _word(words: dict[Any, Any], column: str) -> str | None:
    for key, value in words.items():
        if key and key.lower() == column and value:
            return str(value).strip()
    return None


def _checksum(words: dict[Any, Any]) -> Checksum | None:
    for algorithm in ("sha512", "sha256", "sha1", "md5"):
        digest = _word(words, algorithm)
        if digest is None:
            continue
        found = checksums.of_digest(digest, f"column {algorithm}")
        if found.algorithm != algorithm:
            detail = f"column {algorithm}: {digest!r} is a {found.algorithm}"
            raise ItemFault(Code.BAD_MANIFEST_ROW, detail)
        return found
    return None


def _size(words: dict[Any, Any]) -> int | None:
    text = _word(words, "bytes")
    if text is None:
        return None
    if not text.isdecimal():
        raise ItemFault(Code.BAD_MANIFEST_ROW, f"column bytes: {text!r} is no number")
    return int(text)


def _params(words: dict[Any, Any]) -> dict[str, Any] | None:
    text = _word(words, "params")
    if text is None:
        return None
    try:
        params = json.loads(text)
    except ValueError as error:
        detail = f"column params is not JSON: {error}"
        raise ItemFault(Code.BAD_MANIFEST_ROW, detail) from error
    if not isinstance(params, dict):
        detail = 'column params is a JSON object such as {"scale": 2}'
        raise ItemFault(Code.BAD_MANIFEST_ROW, detail)
    return params
