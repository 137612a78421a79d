"""Where each file of an export lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from io import BytesIO
from pathlib import PurePosixPath
from typing import Literal, cast, get_args
from uuid import NAMESPACE_URL, uuid5

from infra.export import bag, descriptions, premis, premis_jsonld, rows
from infra.export.encoding import Encoding
from infra.export.handed import (
    LABELLED,
    Described,
    Handed,
    made_for_export,
    results_in,
)
from infra.export.signing import Signing, pieces, signature_of
from infra.export.sinks import Sink
from infra.ingest.progress import ItemState
from shared.credentials.places import EMBEDDED, LIST, SUFFIX
from shared.runtime.settings import StoreSettings
from shared.s3.objects import ObjectInfo
from shared.s3.store import S3Store
from shared.uploads import formats
from shared.uploads.documents import Record
from shared.uploads.formats import CopyFormat, FileFormat
from shared.uploads.ingests import SkippedFile, path_of_file
from shared.uploads.names import Names, safe_path

Layout = Literal["tree", "album", "bag", "archivematica", "csv"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
Premis = Literal["xml", "jsonld", "both"]
Stack = Literal["none", "photoprism", "immich", "digikam"]
_MARKS: dict[Stack, tuple[str, str]] = {
    "none": ("", " (restored)"),
    "photoprism": (" (original)", ""),
    "immich": ("", ".edit"),
    "digikam": ("", ""),
}
"""What stands behind the stems of an album's originals and results, so that a program
stacks the two with the result in front.

PhotoPrism cuts names at a bracket and shows the shortest; immich-stack cuts them at a
dot and shows the one with `edit`; digiKam groups names that differ in their suffix.
"""
PNG = "png"
"""The master, among the words for copies."""
FILES = "files/"
OBJECTS = "objects/"
ACCESS = "objects/manualNormalization/access/"
"""Where Archivematica looks for copies that others made, each under its original's
place.
"""
MOST_IN_PREMIS = 1000
"""Photos in one file of events."""


class Export:
    """One job on its way into a sink."""

    def __init__(
        self,
        store: S3Store,
        settings: StoreSettings,
        sink: Sink,
        layout: Layout,
        *,
        with_originals: bool = False,
        formats: Sequence[str] = (PNG,),
        events: Premis = "xml",
        signing: Signing | None = None,
        stack: Stack = "none",
        encoding: Encoding | None = None,
    ) -> None:
        """`formats`: `png` and those of copies: what the upload asked for lies in the
        bucket, and `encoding` makes what it did not. `lacking` counts the photos that
        lack one, `bytes` what was written.
        `events`: how PREMIS is written in the archival layouts. `signing`: signs every
        result. `stack`: the program whose names an album has.
        """
        self._store = store
        self._results = settings.bucket_results
        self._sink = sink
        self._layout = layout
        self._with_originals = with_originals or layout not in ("tree", "csv")
        self._formats = formats
        self._form_of_events = events
        self._signing = signing
        self._encoding = encoding
        self._credentials: list[dict[str, object]] = []
        self.bytes = 0
        self.lacking = 0
        self._names = Names()
        self._originals: dict[str, str] = {}
        self._time: datetime | None = None
        self._described_originals: dict[str, dict[str, str]] = {}
        self._marks = _MARKS[stack] if layout == "album" else ("", "")
        self._rows: list[dict[str, object]] = []
        self._failed: list[dict[str, object]] = []
        self._events: list[Described] = []
        self._files_of_events = 0
        self._described: set[str] = set()

    def add(self, state: ItemState) -> None:
        """Write what there is of one photo. Raises `NotFound` for a result that was
        taken away meanwhile.
        """
        results: list[Handed] = []
        notes: list[str] = []
        original = None
        if state.record and state.item.path is not None:
            path = path_of_file(state.item.path)
            self._time = state.item.modified_at if self._layout == "album" else None
            original = self._add_original(state.record, path)
            results = self._add_results(state.record, path, notes)
            if self._is_archival:
                self._described_originals[original] = state.item.words
            if self._is_archival and state.record.task_id not in self._described:
                self._describe(state.record, original, results)
        elif state.has_failed:
            self._failed.append(rows.failed_row(state))
        self._add_row(state, results, notes, original)

    def finish(
        self,
        name: str,
        day: date,
        part: bag.Part | None = None,
        skipped: Sequence[SkippedFile] = (),
    ) -> None:
        """Write what describes the files, and what proves them. `part`: of an export
        that is split; `skipped`: what the job did not send.
        """
        self._write_events()
        named = {column: None for row in self._rows for column in row}
        columns = {**dict.fromkeys(rows.COLUMNS), **named}
        self._write(f"{self._metadata}manifest.csv", rows.csv_of(columns, self._rows))
        if self._credentials:
            self._write(
                f"{self._metadata}{LIST}",
                rows.csv_of(("file", "credentials"), self._credentials),
            )
        if self._failed:
            columns = {column: None for row in self._failed for column in row}
            self._write(
                f"{self._metadata}failed.csv", rows.csv_of(columns, self._failed)
            )
        if skipped:
            found = [{"filename": file.path, "why": file.why} for file in skipped]
            listed_files = rows.csv_of(("filename", "why"), found)
            self._write(f"{self._metadata}skipped.csv", listed_files)
        if self._is_archival:
            self._write_descriptions()
        if self._layout == "bag":
            bag.write_tags(self._sink, name, day, part)
        elif self._layout == "archivematica":
            listed = bag.manifest(self._sink.written, "sha256")
            self._write("metadata/checksum.sha256", listed.encode())
        else:
            listed = bag.manifest(self._sink.written, "sha256")
            self._write("checksums.sha256", listed.encode())

    @property
    def _base(self) -> str:
        return bag.PAYLOAD if self._layout == "bag" else ""

    @property
    def _is_archival(self) -> bool:
        return self._layout in ("bag", "archivematica")

    @property
    def _metadata(self) -> str:
        return f"{self._base}metadata/" if self._is_archival else ""

    def _add_original(self, record: Record, path: str) -> str:
        """Write an original, and return its place. The pages of one file are so many
        photos, and one original.
        """
        if not self._with_originals:
            return f"{self._place_of_originals}{safe_path(self._below(path))}"
        if path not in self._originals:
            place = f"{self._place_of_originals}{self._below(path)}"
            suffix = PurePosixPath(place).suffix
            where = self._names.name_for(place, suffix, self._marks[0])
            self._copy(record.source.stored, where)
            self._originals[path] = where
        return self._originals[path]

    @property
    def _place_of_originals(self) -> str:
        return f"{self._base}{OBJECTS}" if self._is_archival else ""

    def _below(self, path: str) -> str:
        return _below_objects(path) if self._is_archival else path

    def _add_results(self, record: Record, path: str, notes: list[str]) -> list[Handed]:
        """What there is of the result in the formats that are wanted."""
        written = []
        for word in self._formats:
            for handed in self._handed(record, word, notes):
                written.append(self._add_result(record, path, handed, notes))
                if handed.file:
                    handed.file.unlink()
        return written

    def _handed(self, record: Record, word: str, notes: list[str]) -> list[Handed]:
        found = [
            handed
            for handed in results_in(record, word)
            if (word == PNG) == (handed.key == record.result_key)
        ]
        if found or self._encoding is None or word == PNG:
            return found
        encode = partial(self._encoded, self._encoding, record, word, notes)
        if word == LABELLED:
            return [made for each in self._labelled(record) if (made := encode(each))]
        file_format = formats.file_format(cast(CopyFormat, word), record.source.format)
        if file_format is None:
            return [] if PNG in self._formats else list(results_in(record, PNG))
        made = encode(file_format)
        return [made] if made else []

    def _labelled(self, record: Record) -> list[FileFormat]:
        """The formats of copies with the label: those of the others, or JPEG."""
        words = [word for word in self._formats if word not in (PNG, LABELLED)]
        source = record.source.format
        found = [
            formats.file_format(cast(CopyFormat, word), source) or "jpeg"
            for word in words or ["jpeg"]
        ]
        return list(dict.fromkeys(found))

    def _encoded(
        self,
        encoding: Encoding,
        record: Record,
        word: str,
        notes: list[str],
        file_format: FileFormat,
    ) -> Handed | None:
        """A copy that is made now; None: it cannot be, and `notes` says why."""
        made = encoding.encoded(
            record.task_id, file_format, is_labelled=word == LABELLED
        )
        if isinstance(made, str):
            notes.append(made)
            return None
        extension = formats.EXTENSIONS[file_format]
        return made_for_export(record.task_id, word, extension, made)

    def _add_result(
        self, record: Record, path: str, handed: Handed, notes: list[str]
    ) -> Handed:
        """Write a file of a result; what was written."""
        page = record.source.page
        mark = f" page {page}" if page else ""
        if handed.is_labelled:
            mark += " labelled"
        mark += self._marks[1]
        place = f"{self._place_of_results}{_below_objects(path)}"
        if self._place_of_results == "":
            place = path
        name = self._names.name_for(place, handed.suffix, mark)
        placed = replace(handed, path=name)
        if self._signing and self._signing.embeds(handed):
            return self._embed(self._signing, record, placed, notes)
        if handed.file:
            with handed.file.open("rb") as file:
                written = self._sink.write(name, pieces(file), self._time)
            self.bytes += written.size
            placed = replace(placed, sha256=written.sha256)
        else:
            self._copy(self._store.head(self._results, handed.key), name)
        if self._signing:
            return self._add_sidecar(self._signing, record, placed, notes)
        return placed

    def _embed(
        self, signing: Signing, record: Record, handed: Handed, notes: list[str]
    ) -> Handed:
        with signing.signed(record, handed, notes) as file:
            written = self._sink.write(handed.path, pieces(file), self._time)
        self.bytes += written.size
        self._credentials.append({"file": handed.path, "credentials": EMBEDDED})
        # Its bytes are no longer those of the result, and so it is another object.
        identifier = str(uuid5(NAMESPACE_URL, f"darkroom:{handed.key}#{EMBEDDED}"))
        return replace(
            handed,
            identifier=identifier,
            sha256=written.sha256,
            bytes=written.size,
            signed=signing.signature(EMBEDDED),
        )

    def _add_sidecar(
        self, signing: Signing, record: Record, handed: Handed, notes: list[str]
    ) -> Handed:
        """Write the credentials beside a result; in the archival layouts with the
        documents, where photos with the same bytes share them.
        """
        place = f"{handed.path}{SUFFIX}"
        if self._is_archival:
            place = f"{self._documents}credentials/{record.task_id}{SUFFIX}"
        self._credentials.append({"file": handed.path, "credentials": place})
        stored = signing.stored(record, handed, notes)
        if place not in self._sink.written:
            making = signing.signed(record, handed, notes)
            with BytesIO(stored) if stored else making as file:
                self.bytes += self._sink.write(place, pieces(file)).size
        if stored and record.credentials:
            signed = signature_of(record, record.credentials, place)
        else:
            signed = signing.signature(place)
        return replace(handed, signed=signed)

    @property
    def _documents(self) -> str:
        return f"{self._metadata}submissionDocumentation/darkroom/"

    @property
    def _place_of_results(self) -> str:
        if self._is_archival:
            return f"{self._base}{ACCESS}"
        return FILES if self._layout == "csv" else ""

    def _add_row(
        self,
        state: ItemState,
        results: Sequence[Handed],
        notes: Sequence[str],
        original: str | None,
    ) -> None:
        row = rows.row_of(state, results[0] if results else None)
        row["original"] = original if self._with_originals else None
        if notes:
            row["notes"] = "; ".join(filter(None, (str(row["notes"]), *notes)))
        if state.record and len(results) < len(self._formats):
            made = ", ".join(handed.word for handed in results) or "none"
            wanted = ", ".join(self._formats)
            self.lacking += 1
            row["notes"] = f"{row['notes']}; of {wanted} there is {made}".strip("; ")
        if self._layout == "csv":
            row |= {"file": row["result"]}
            row = {**state.item.words, **row}
        self._rows.append(row)

    def _describe(
        self, record: Record, original: str, results: Sequence[Handed]
    ) -> None:
        """Once for all photos with the same bytes: they are one task."""
        self._described.add(record.task_id)
        place = f"{self._documents}records/{record.task_id}.json"
        self._write(place, record.to_bytes())
        self._events.extend((record, original, result) for result in results)
        if len(self._events) >= MOST_IN_PREMIS:
            self._write_events()

    def _write_descriptions(self) -> None:
        """Write what the source said of the originals, as Archivematica reads it."""
        found = {
            path.removeprefix(bag.PAYLOAD): words
            for path, words in self._described_originals.items()
        }
        for name, data in descriptions.documents(found):
            self._write(f"{self._metadata}{name}", data)

    def _write_events(self) -> None:
        if not self._events:
            return
        number = f"-{self._files_of_events}" if self._files_of_events else ""
        place = f"{self._metadata}premis{number}"
        if self._form_of_events != "jsonld":
            self._write(f"{place}.xml", premis.document(self._events))
        if self._form_of_events != "xml":
            self._write(f"{place}.jsonld", premis_jsonld.document(self._events))
        self._files_of_events += 1
        self._events = []

    def _copy(self, known: ObjectInfo, path: str) -> None:
        with self._store.open(known.bucket, known.key, known.version) as stream:
            self.bytes += self._sink.write(path, stream.chunks(), self._time).size

    def _write(self, path: str, data: bytes) -> None:
        self.bytes += self._sink.write(path, iter((data,))).size


def _below_objects(path: str) -> str:
    """A transfer's own folder for its objects is not doubled."""
    for start in ("data/objects/", "data/", "objects/"):
        if path.startswith(start):
            return path.removeprefix(start)
    return path
