"""Which uploads a task is made of, and whether a principal may know of them: to a
principal that may not, they do not exist.
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
from handlers.http.auth.principal import Principal
from handlers.http.problems import Problem
from shared.errors import NotFound
from shared.uploads import claims
from shared.uploads.documents import Receipt, Superseded
from shared.uploads.ref import UploadRef

HINTS = 10_000
PAGE = 500


class Ownership:
    """Finds receipts by task: through hints, the record, the claims, and the audit log.

    A hint covers the moment in which the audit log does not know of a new photo yet.
    """

    def __init__(
        self,
        ctx: Context,
        audit_log: AuditLog,
    ) -> None:
        self._ctx = ctx
        self._audit_log = audit_log
        self._hints: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def hint(self, task_id: str, upload_id: str) -> None:
        """Remember, in this process, that this upload is of that task."""
        with self._lock:
            self._hints[task_id] = upload_id
            if len(self._hints) > HINTS:
                self._hints.popitem(last=False)

    def one(
        self,
        principal: Principal,
        task_id: UUID,
    ) -> Receipt:
        """Any upload of a task. Raises `Problem` 404; `DatabaseUnavailable` where only
        the audit log could tell.
        """
        for receipt in self._visible(principal, str(task_id)):
            return receipt
        raise _unknown(task_id)

    def every(
        self,
        principal: Principal,
        task_id: UUID,
    ) -> list[Receipt]:
        """All uploads of a task. Raises like `one`."""
        receipts = list(self._visible(principal, str(task_id)))
        if not receipts:
            raise _unknown(task_id)
        return receipts

    def _visible(
        self,
        principal: Principal,
        task_id: str,
    ) -> Iterator[Receipt]:
        is_known = False
        for upload_id in _distinct(self._upload_ids(task_id)):
            for receipt in self._of_task(upload_id, task_id):
                if principal.sees(receipt.user_hash):
                    is_known = True
                    yield receipt
        if not is_known:
            yield from self._by_record(principal, task_id)

    def _of_task(
        self,
        upload_id: str,
        task_id: str,
    ) -> Iterator[Receipt]:
        """The latest receipt of this task at the place of an upload; beside it the
        latest of all, where the audit log has one row for both.
        """
        receipts = self._receipts(upload_id)
        latest = next(receipts, None)
        found = latest
        while found and found.task_id != task_id:
            found = next(receipts, None)
        if latest is None or found is None:
            return
        yield found
        if latest is not found and _share_a_row(latest, found):
            yield latest

    def _by_record(
        self,
        principal: Principal,
        task_id: str,
    ) -> Iterator[Receipt]:
        """The receipt that a record implies: it is lost, or an earlier release wrote
        that of a later upload over it.
        """
        record = self._ctx.uploads.readable_record(task_id)
        if record is None or record.preview:
            return
        if not principal.sees(record.user_hash):
            return
        receipt = Receipt.of_record(record)
        is_overwritten = any(self._receipts(record.upload_id))
        yield Superseded.of(receipt) if is_overwritten else receipt

    def _receipts(self, upload_id: str) -> Iterator[Receipt]:
        """The receipt of an upload, and those of earlier uploads of the same bytes at
        its key, which may be of other users.
        """
        with suppress(NotFound):
            yield self._ctx.uploads.receipt(upload_id)
        yield from self._ctx.uploads.superseded(upload_id)

    def _upload_ids(self, task_id: str) -> Iterator[str]:
        hinted = self._hints.get(task_id)
        if hinted:
            yield hinted
        record = self._ctx.uploads.readable_record(task_id)
        if record:
            yield record.upload_id
        bucket = self._ctx.settings.bucket_results
        claim = claims.latest(self._ctx.store, bucket, task_id)
        if claim:
            yield claim.note.upload_id
        yield from self._logged(task_id)

    def _logged(self, task_id: str) -> Iterator[str]:
        after: UploadRef | None = None
        while True:
            where = Filter(task_id=task_id, after=after)
            rows = self._audit_log.page(where, PAGE)
            if not rows:
                break
            for row in rows:
                yield str(row.upload_id)
            last = rows[-1]
            after = UploadRef(str(last.upload_id), last.upload_time)
        yield from self._audit_log.archived(task_id)


def _distinct(upload_ids: Iterator[str]) -> Iterator[str]:
    seen: set[str] = set()
    for upload_id in upload_ids:
        if upload_id not in seen:
            seen.add(upload_id)
            yield upload_id


def _share_a_row(latest: Receipt, earlier: Receipt) -> bool:
    """Whether the audit log has one row for both: their owner put the same bytes twice
    in the same second.
    """
    if latest.user_hash != earlier.user_hash:
        return False
    return latest.source.upload_time == earlier.source.upload_time


def _unknown(task_id: UUID) -> Problem:
    return Problem(404, f"no task {task_id}", "not_found")
