"""The results of a job, file by file, as its ZIP file holds them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import replace

from handlers.audit_log.columns import Row
from handlers.audit_log.database import AuditLog
from handlers.audit_log.values import Filter
from handlers.http.api.services import Services
from shared.errors import NotFound
from shared.uploads import keys
from shared.uploads.messages import Status
from shared.uploads.names import Names
from shared.uploads.ref import UploadRef

PAGE = 500
RESTORED: tuple[Status, ...] = ("success", "duplicate")
ENDED_WITHOUT: tuple[Status, ...] = ("failed", "rejected")


def files(api: Services, where: Filter) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Names and contents: each result, and a list of what has none.

    A result that was erased meanwhile stands in the list, too.
    """
    names = Names()
    failed = _Listed()
    bucket = api.ctx.settings.bucket_results
    for row in rows(api.audit_log, where, RESTORED):
        try:
            with api.ctx.store.open(bucket, keys.result(str(row.task_id))) as stream:
                name = names.name_for(row.image_filename or "photo", ".png")
                yield name, stream.chunks()
        except NotFound:
            failed.add(row, "erased", "its result is there no more")
    for row in rows(api.audit_log, where, ENDED_WITHOUT):
        failed.add(row, row.error_code or "", row.error_detail or "")
    if failed.lines:
        yield "failed.csv", failed.lines


def rows(
    audit_log: AuditLog, where: Filter, statuses: tuple[Status, ...]
) -> Iterator[Row]:
    """All uploads of these statuses, page by page."""
    for status in statuses:
        wanted = replace(where, status=status, after=None)
        while page := audit_log.page(wanted, PAGE):
            yield from page
            last = page[-1]
            after = UploadRef(str(last.upload_id), last.upload_time)
            wanted = replace(wanted, after=after)


class _Listed:
    """Lines of CSV about photos without a result."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def add(self, row: Row, code: str, detail: str) -> None:
        if not self.lines:
            self._write("filename", "upload_id", "error_code", "error_detail")
        self._write(row.image_filename or "", str(row.upload_id), code, detail)

    def _write(self, *cells: str) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerow(cells)
        self.lines.append(text.getvalue().encode())
