"""Which uploads a task is made of, and whether the caller may know of it: what is
somebody else's does not exist.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from uuid import UUID

from handlers.audit_log.database import AuditLog
from handlers.audit_log.values import Filter
from handlers.context import Context
from handlers.http.auth.principal import Principal as Caller
from handlers.http.problems import Problem
from shared.errors import NotFound
from shared.uploads import claims
from shared.uploads.documents import Receipt, Superseded
from shared.uploads.ref import UploadRef

HINTS = 10_000
PAGE = 500


class Belongings:
    """Finds receipts by task: through the record, the attempts, the log, and what this
    process was asked about lately.

    The last is a hint for the moment in which the log does not know of a new photo yet.
    """

    def __init__(self, ctx: Context, audit_log: AuditLog) -> None:
        self._ctx, self._audit_log = ctx, audit_log
        self._hints: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def hint(self, task_id: str, upload_id: str) -> None:
        """Remember that this upload is of that task."""
        with self._lock:
            self._hints[task_id] = upload_id
            if len(self._hints) > HINTS:
                self._hints.popitem(last=False)

    def one(self, caller: Caller, task_id: UUID) -> Receipt:
        """Any upload of a task. Raises `Problem` 404; `DatabaseUnavailable` when nobody
        can say.
        """
        found = next(self._seen(caller, str(task_id), self._ids(str(task_id))), None)
        if found is None:
            raise unknown(task_id)
        return found

    def every(self, caller: Caller, task_id: UUID) -> list[Receipt]:
        """All uploads of a task. Raises like `one`."""
        found = list(self._seen(caller, str(task_id), self._ids(str(task_id))))
        if not found:
            raise unknown(task_id)
        return found

    def _seen(
        self, caller: Caller, task_id: str, upload_ids: Iterator[str]
    ) -> Iterator[Receipt]:
        looked_at: set[str] = set()
        is_known = False
        for upload_id in upload_ids:
            if upload_id in looked_at:
                continue
            looked_at.add(upload_id)
            receipts = self._receipts(upload_id)
            latest = found = next(receipts, None)
            while found and found.task_id != task_id:
                found = next(receipts, None)
            if found and caller.sees(found.user_hash):
                is_known = True
                yield found
                if latest and latest is not found and _are_one(latest, found):
                    yield latest
        record = None if is_known else self._ctx.uploads.readable_record(task_id)
        if record and not record.preview and caller.sees(record.user_hash):
            # Its receipt is lost, or earlier releases wrote that of a later upload over
            # it.
            receipt = Receipt.of_record(record)
            yield (
                Superseded.of(receipt)
                if any(self._receipts(record.upload_id))
                else receipt
            )

    def _receipts(self, upload_id: str) -> Iterator[Receipt]:
        """That of the upload, and those of earlier ones of the same bytes at its key,
        which may be somebody else's.
        """
        with suppress(NotFound):
            yield self._ctx.uploads.receipt(upload_id)
        yield from self._ctx.uploads.superseded(upload_id)

    def _ids(self, task_id: str) -> Iterator[str]:
        if hinted := self._hints.get(task_id):
            yield hinted
        if record := self._ctx.uploads.readable_record(task_id):
            yield record.upload_id
        bucket = self._ctx.settings.bucket_results
        if claim := claims.latest(self._ctx.store, bucket, task_id):
            yield claim.note.upload_id
        after: UploadRef | None = None
        while rows := self._audit_log.page(Filter(task_id=task_id, after=after), PAGE):
            yield from (str(row.upload_id) for row in rows)
            last = rows[-1]
            after = UploadRef(str(last.upload_id), last.upload_time)


def _are_one(latest: Receipt, earlier: Receipt) -> bool:
    """Whether the log has one row for both: its owner put the same bytes twice in the
    same second.
    """
    same = (earlier.source.upload_time, earlier.user_hash)
    return (latest.source.upload_time, latest.user_hash) == same


def unknown(task_id: UUID) -> Problem:
    return Problem(404, f"no task {task_id}", "not_found")
