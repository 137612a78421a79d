"""Where each file of an export lies."""

from __future__ import annotations

from datetime import date
from typing import Literal

from infra.export import bag, premis, rows
from infra.export.sinks import Sink
from infra.ingest.progress import ItemState
from shared.runtime.settings import StoreSettings
from shared.s3.objects import ObjectInfo
from shared.s3.store import S3Store
from shared.uploads.documents import Record
from shared.uploads.ingests import path_of_file
from shared.uploads.names import Names, safe_path

Layout = Literal["tree", "album", "bag", "archivematica"]
LAYOUTS: tuple[Layout, ...] = ("tree", "album", "bag", "archivematica")
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
        with_originals: bool,
    ) -> None:
        self._store = store
        self._results = settings.bucket_results
        self._sink = sink
        self._layout = layout
        self._with_originals = with_originals or layout != "tree"
        self._names = Names()
        self._rows: list[dict[str, object]] = []
        self._failed: list[dict[str, object]] = []
        self._events: list[tuple[Record, str, str]] = []
        self._files_of_events = 0
        self._described: set[str] = set()

    def add(self, state: ItemState) -> None:
        """Write what there is of one photo. Raises `NotFound` for a result that was
        taken away meanwhile.
        """
        result = None
        if state.record and state.item.path is not None:
            path = path_of_file(state.item.path)
            original = self._add_original(state.record, path)
            result = self._add_result(state.record, path)
            if self._is_archival and state.record.task_id not in self._described:
                self._describe(state.record, original, result)
        elif state.has_failed:
            self._failed.append(rows.failed_row(state))
        self._rows.append(rows.row_of(state, result))

    def finish(self, name: str, day: date) -> None:
        """Write what describes the files, and what proves them."""
        self._write_events()
        self._write(
            f"{self._metadata}manifest.csv", rows.csv_of(rows.COLUMNS, self._rows)
        )
        if self._failed:
            columns = {column: None for row in self._failed for column in row}
            self._write(
                f"{self._metadata}failed.csv", rows.csv_of(columns, self._failed)
            )
        if self._layout == "bag":
            bag.write_tags(self._sink, name, day)
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
        place = (
            safe_path(_below_objects(path)) if self._is_archival else safe_path(path)
        )
        where = f"{self._base}{OBJECTS}{place}" if self._is_archival else place
        # The pages of one file are so many photos, and one original.
        if self._with_originals and where not in self._sink.written:
            source = record.source
            self._copy(source.stored, where)
        return where

    def _add_result(self, record: Record, path: str) -> str:
        page = record.source.page
        mark = f" page {page}" if page else ""
        if self._is_archival:
            place = f"{self._base}{ACCESS}{_below_objects(path)}"
            name = self._names.name_for(place, ".png", mark)
        else:
            if self._layout == "album":
                mark += " (restored)"
            name = self._names.name_for(path, ".png", mark)
        self._copy(self._store.head(self._results, record.result_key), name)
        return name

    def _describe(self, record: Record, original: str, result: str) -> None:
        """Once for all photos with the same bytes: they are one task."""
        self._described.add(record.task_id)
        documents = f"{self._metadata}submissionDocumentation/darkroom/records/"
        self._write(f"{documents}{record.task_id}.json", record.to_bytes())
        self._events.append((record, original, result))
        if len(self._events) == MOST_IN_PREMIS:
            self._write_events()

    def _write_events(self) -> None:
        if not self._events:
            return
        number = f"-{self._files_of_events}" if self._files_of_events else ""
        self._write(
            f"{self._metadata}premis{number}.xml", premis.document(self._events)
        )
        self._files_of_events += 1
        self._events = []

    def _copy(self, known: ObjectInfo, path: str) -> None:
        with self._store.open(known.bucket, known.key, known.version) as stream:
            self._sink.write(path, stream.chunks())

    def _write(self, path: str, data: bytes) -> None:
        self._sink.write(path, iter((data,)))


def _below_objects(path: str) -> str:
    """A transfer's own folder for its objects is not doubled."""
    for start in ("data/objects/", "data/", "objects/"):
        if path.startswith(start):
            return path.removeprefix(start)
    return path
