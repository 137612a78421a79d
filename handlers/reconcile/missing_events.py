"""Ends that the audit log does not have.

Finds: uploads whose row lacks their end. Does: publishes their events again, once the
log queue is empty; erases uploads that the log did not have when their task was erased.
Safe to repeat: an event that comes twice is one row.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from functools import partial
from typing import Protocol

from handlers import erasure
from handlers.audit_log.values import Ending
from handlers.reconcile.pass_context import PassContext
from handlers.reconcile.tables import packed
from shared.broker import topology
from shared.errors import DatabaseUnavailable, PermanentError
from shared.uploads import events
from shared.uploads.ref import UploadRef


class AuditLogIndex(Protocol):
    """What the sweep needs of `handlers.audit_log.database.AuditLog`."""

    def ended(self, ends: Sequence[Ending]) -> set[str]: ...

    def twins(self, erased: Sequence[Ending]) -> list[UploadRef]: ...


class MissingEvents:
    """Compares ends with the audit log. Once that is down, nothing more is compared in
    this pass.
    """

    def __init__(
        self,
        sweep: PassContext,
        audit_log: AuditLogIndex,
        idle: Container[str],
    ) -> None:
        self._sweep = sweep
        self._audit_log = audit_log
        self._is_idle = topology.LOG in idle
        self._is_down = False

    def recorded(self, ends: Mapping[bytes, Ending]) -> set[bytes]:
        """Return the uploads whose end the audit log has; publish those of the others."""
        if not ends or self._is_down:
            return set()
        try:
            recorded = self._ended(list(ends.values()))
            self._erase_twins(
                [
                    end
                    for end in ends.values()
                    if end.erased and end.upload_id in recorded
                ]
            )
        except DatabaseUnavailable:
            self._is_down = True
            return set()
        if self._is_idle:
            ids = (end.upload_id for end in ends.values())
            self._resend([ident for ident in ids if ident not in recorded])
        return {packed(upload_id) for upload_id in recorded}

    def _ended(self, ends: list[Ending]) -> set[str]:
        """Return the ids that the audit log has. An end that it cannot look up is found
        by halving, and does not hide the others.
        """
        try:
            return self._audit_log.ended(ends)
        except DatabaseUnavailable:
            raise
        except Exception as error:
            if len(ends) > 1:
                middle = len(ends) // 2
                return self._ended(ends[:middle]) | self._ended(ends[middle:])
            self._sweep.isolation.add_failure("audit_log", ends[0].upload_id, error)
            return set()

    def _erase_twins(self, erased: list[Ending]) -> None:
        """Erase the other uploads of an erased task that came into the log later."""
        for twin in self._audit_log.twins(erased) if erased else []:
            erase = partial(self._erase, twin)
            self._sweep.isolation.run("twin", twin.upload_id, erase)

    def _erase(self, ref: UploadRef) -> None:
        ctx = self._sweep.ctx
        receipt = ctx.uploads.receipt(ref.upload_id)
        if receipt.ref == ref and receipt.task_id and not self._sweep.dry_run:
            erasure.erase(ctx, receipt.task_id, [receipt])

    def _resend(self, upload_ids: Collection[str]) -> None:
        bodies: list[bytes] = []
        for upload_id in upload_ids:
            read = partial(self._events_of, upload_id)
            found = self._sweep.isolation.run("retell", upload_id, read)
            bodies += found or []
            self._sweep.report.events_resent += bool(found)
        if not self._sweep.dry_run:
            self._sweep.publisher.publish_many(topology.LOG, bodies)

    def _events_of(self, upload_id: str) -> list[bytes]:
        ctx = self._sweep.ctx
        try:
            receipt = ctx.uploads.receipt(upload_id)
            outcome = ctx.uploads.outcome(receipt)
        except PermanentError:
            return []  # gone or damaged meanwhile: the next pass sees to it
        found = events.of_upload(receipt, outcome, ctx.settings.bucket_results)
        return [event.encode() for event in found]
