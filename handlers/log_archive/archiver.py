"""Moves old months of the log into the archive bucket, and what came late into the
months that lie there: an erasure, above all.

The steps, of which each may be the last: the month's rows and events are read in one
snapshot and merged with its files, if it has any; the new files are stored and read
back; the manifest names them; the index is written; the month is taken out of the log,
unless it changed since it was read; the files that the manifest does not name are
deleted, and then the rows, a few thousand at a time. A next run goes on from whatever is
there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel

from handlers.audit_log.old_months import KINDS, Month, OldMonths, State
from handlers.context import Context
from handlers.log_archive import lake
from handlers.log_archive.fetch import fetched
from handlers.log_archive.manifest import ArchivedFile, Manifest, manifest_of
from shared.errors import Code, TransientError
from shared.runtime.failpoints import passing
from shared.runtime.telemetry import logger
from shared.uploads import keys

PARQUET = "application/vnd.apache.parquet"
SHA_DIGITS = 16
"""Of the checksum, in a file's name: the same content has the same name."""


class ArchiveReport(BaseModel):
    """What one run did. `changed`: months that were written to meanwhile, for the next
    run; in a dry run `months` are those that are due.
    """

    dry_run: bool = False
    months: list[str] = []
    changed: list[str] = []
    rows: int = 0
    bytes: int = 0


class Archiver:
    """Archives what is due. `beat` is called at every step that takes long."""

    def __init__(
        self,
        ctx: Context,
        months: OldMonths,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._ctx = ctx
        self._months = months
        self._beat = beat
        self._bucket = ctx.settings.bucket_archive

    def run(self, dry_run: bool = False) -> ArchiveReport:
        """Archive every month that is due.

        Raises `DatabaseUnavailable`, `StorageUnavailable`, and
        `PermanentError(bad_document)` for a manifest that cannot be read.
        """
        report = ArchiveReport(dry_run=dry_run)
        self._months.gather()
        due = self._due()
        if dry_run:
            report.months = [month.name for month in due]
            return report
        with self._months.alone() as is_alone:
            if is_alone:
                for month in self._months.left():
                    self._finish(month)
                for month in due:
                    self._archive(month, report)
        if report.months or report.changed:
            logger().info("log.archived", **report.model_dump())
        return report

    def _due(self) -> list[Month]:
        days = self._ctx.settings.log_archive_after_days
        if not days:
            return []
        before = self._ctx.clock.now() - timedelta(days=days)
        return [month for month in self._months.live() if month.ends <= before]

    def _archive(self, month: Month, report: ArchiveReport) -> None:
        earlier = manifest_of(self._ctx, month.name)
        with TemporaryDirectory(
            prefix="log-", dir=self._ctx.settings.scratch_dir
        ) as folder:
            state = self._read(month, Path(folder))
            files, index = self._written(month, earlier, Path(folder))
        passing("archive.after_files")
        self._write_manifest(month, files)
        passing("archive.after_manifest")
        self._months.index(index)
        if not self._months.detach(month, state):
            report.changed.append(month.name)
            return
        passing("archive.after_detach")
        self._finish(month)
        report.months.append(month.name)
        report.rows += files["log"].rows
        report.bytes += sum(file.bytes for file in files.values())

    def _read(self, month: Month, folder: Path) -> State:
        def take(name: str, rows: Iterator[str]) -> None:
            with (folder / f"{name}.json").open("w", encoding="utf-8") as file:
                for place, row in enumerate(rows):
                    if place % 1000 == 0:
                        self._beat()
                    file.write(f"{row}\n")

        return self._months.read(month, take)

    def _written(
        self, month: Month, earlier: Manifest | None, folder: Path
    ) -> tuple[dict[str, ArchivedFile], list[dict[str, Any]]]:
        """Store the merged files; return them, and the index of their uploads."""
        connection = lake.connect(folder / "merge.duckdb")
        try:
            for kind, table in KINDS.items():
                columns = self._months.columns(table)
                lake.load_json(
                    connection, f"live_{kind}", columns, folder / f"{kind}.json"
                )
                old = (
                    [fetched(self._ctx, getattr(earlier, kind), folder)]
                    if earlier
                    else []
                )
                lake.view_parquet(connection, f"old_{kind}", f"live_{kind}", old)
                self._beat()
            names = self._months.columns(KINDS["log"])
            log = lake.merged_log("live_log", "old_log", names)
            connection.execute(f"CREATE TABLE log AS {log}")
            events = lake.merged_events("live_events", "old_events", "log")
            connection.execute(f"CREATE TABLE events AS {events}")
            self._beat()
            files = {}
            for kind in KINDS:
                file = folder / f"{kind}.parquet"
                rows = lake.write_parquet(connection, kind, file)
                files[kind] = self._stored(month, kind, file, rows)
            return files, _index_of(connection)
        finally:
            connection.close()

    def _stored(self, month: Month, kind: str, file: Path, rows: int) -> ArchivedFile:
        """Store a file, and read it back."""
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        key = keys.log_archive(month.name, f"{kind}-{sha256[:SHA_DIGITS]}.parquet")
        with file.open("rb") as data:
            told = {"sha256": sha256, "rows": str(rows)}
            self._ctx.store.put(self._bucket, key, data, PARQUET, told)
        stored = ArchivedFile(
            key=key, sha256=sha256, bytes=file.stat().st_size, rows=rows
        )
        fetched(self._ctx, stored, file.parent)
        self._beat()
        return stored

    def _write_manifest(self, month: Month, files: dict[str, ArchivedFile]) -> None:
        manifest = Manifest(
            month=month.name,
            log=files["log"],
            events=files["events"],
            written_at=self._ctx.clock.now(),
        )
        data = manifest.to_bytes()
        self._ctx.store.put(self._bucket, manifest.place(), data, "application/json")

    def _finish(self, month: Month) -> None:
        """Delete what the files of a month took the place of: the files before them, and
        those of a run that was cut off, in every version; then its rows.
        """
        manifest = manifest_of(self._ctx, month.name)
        if manifest is None:
            detail = f"{month.name}: its manifest is gone from the archive"
            raise TransientError(Code.INTERNAL, detail)
        kept = {manifest.place(), manifest.log.key, manifest.events.key}
        prefix = keys.log_archive(month.name)
        for info in list(self._ctx.store.every_version(self._bucket, prefix)):
            if info.key not in kept:
                self._ctx.store.delete(self._bucket, info.key, info.version)
        self._months.empty(month, self._beat)


def _index_of(connection: Any) -> list[dict[str, Any]]:
    rows = connection.execute(
        "SELECT upload_id::VARCHAR, strftime(upload_time, '%Y-%m-%dT%H:%M:%S.%f+00'), "
        "task_id::VARCHAR, status, retries, error_code IS NOT DISTINCT FROM 'erased' FROM log"
    ).fetchall()
    names = ("upload_id", "upload_time", "task_id", "status", "retries", "erased")
    return [dict(zip(names, row, strict=True)) for row in rows]
