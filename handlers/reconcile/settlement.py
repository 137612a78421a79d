"""Which ended uploads are settled: their end is in order in the bucket, in the audit log
and in the call log. Settled ones are not looked at again.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from handlers.audit_log.values import Ending
from handlers.reconcile import missing_messages, missing_webhooks
from handlers.reconcile.finished import FinishedIndex
from handlers.reconcile.isolation import ident_of
from handlers.reconcile.missing_events import AuditLogIndex, MissingEvents
from handlers.reconcile.pass_context import PassContext
from handlers.reconcile.reasons import endings_of_reasons
from handlers.reconcile.tables import Entry
from shared.s3.store import ObjectInfo
from shared.uploads.messages import Status


@dataclass(frozen=True)
class ListedReceipt:
    """A receipt as the store lists it, and what it says."""

    info: ObjectInfo
    entry: Entry


class Settlement:
    """Settles ended uploads, chunk by chunk.

    Without an audit log (`audit_log` is None) an end counts as recorded.
    """

    def __init__(
        self,
        sweep: PassContext,
        finished: FinishedIndex,
        audit_log: AuditLogIndex | None,
        idle: Container[str],
    ) -> None:
        self._sweep = sweep
        self._finished = finished
        self._events: MissingEvents | None = None
        if audit_log is not None:
            self._events = MissingEvents(sweep, audit_log, idle)
        self._idle = idle
        self._failed: set[bytes] = set()
        """Duplicates that met an error when they were to be queued."""

    def settled(self, receipts: Sequence[ListedReceipt]) -> set[bytes]:
        """Return the uploads that are settled; do what is missing for the others.

        Nothing is missing yet of an end that is younger than a lease: its event and its
        webhook may be on their way.
        """
        ended: list[Entry] = []
        old: list[Entry] = []
        for receipt in receipts:
            when = self._finished.when(receipt.entry)
            if when is None:
                continue
            ended.append(receipt.entry)
            if self._is_old(receipt.info, when):
                old.append(receipt.entry)
        settled = self._recorded(ended, self._endings(old)) - self._failed
        with_webhook = {entry.upload for entry in ended if entry.callback}
        return settled - (with_webhook - self._webhooks_logged(old))

    def _is_old(self, info: ObjectInfo, when: datetime) -> bool:
        """Return whether an upload ended longer ago than a lease, by the store's clock."""
        lease = timedelta(seconds=self._sweep.settings.lease_s)
        now = info.served_at or when
        return now - when > lease

    def _recorded(
        self,
        ended: Sequence[Entry],
        endings: dict[bytes, Ending],
    ) -> set[bytes]:
        if self._events:
            return self._events.recorded(endings)
        without_reason = {
            entry.upload for entry in ended if not self._finished.has_reason(entry)
        }
        return endings.keys() | without_reason

    def _webhooks_logged(self, old: Sequence[Entry]) -> set[bytes]:
        with_webhook = [entry for entry in old if entry.callback]
        return missing_webhooks.request_missing(self._sweep, with_webhook, self._idle)

    def _endings(self, old: Sequence[Entry]) -> dict[bytes, Ending]:
        """Return what the audit log must say of each upload whose end is in order."""
        with_reason = [entry for entry in old if self._finished.has_reason(entry)]
        endings = endings_of_reasons(self._sweep, self._finished, with_reason)
        for entry in old:
            has_reason = self._finished.has_reason(entry)
            if not has_reason and not self._waits_again(entry):
                endings[entry.upload] = Ending(*entry.ref, self._at_least(entry))
        return endings

    def _at_least(self, entry: Entry) -> Status:
        is_restored = entry.queued and self._finished.has_record(entry)
        return "duplicate" if is_restored else "rejected"

    def _waits_again(self, entry: Entry) -> bool:
        """Return whether a duplicate has lost the result that it shares, and is queued
        now.
        """
        if not entry.shares or self._finished.has_record(entry):
            return False
        restore = partial(missing_messages.restore_shared, self._sweep, entry)
        is_queued = self._sweep.isolation.run("shared", ident_of(entry), restore)
        if is_queued is None:
            self._failed.add(entry.upload)
        return is_queued is not False
