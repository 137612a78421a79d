"""Second stage: every receipt whose end is not known and told. Settled ones are not
looked at again.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Protocol

from handlers import erasure
from handlers.audit_log.values import Ending
from handlers.reconcile import missing_messages
from handlers.reconcile.due_retries import Seen
from handlers.reconcile.finished import Ends
from handlers.reconcile.isolation import ident_of
from handlers.reconcile.pass_context import Work, chunks
from handlers.reconcile.reasons import endings
from handlers.reconcile.tables import Entry, Ids, Unsettled, packed, text
from handlers.webhooks.call_log import CallLog
from shared.broker import topology
from shared.errors import DatabaseUnavailable, PermanentError
from shared.s3.store import ObjectInfo
from shared.uploads import events
from shared.uploads.documents import Receipt
from shared.uploads.messages import CallbackDue, Status
from shared.uploads.ref import UploadRef

PREFIX = "receipts/"


class AuditLogIndex(Protocol):
    """What of `handlers.audit_log.database.AuditLog` the sweep needs."""

    def ended(self, ends: Sequence[Ending]) -> set[str]: ...

    def twins(self, erased: Sequence[Ending]) -> list[UploadRef]: ...


class Receipts:
    """`times`: all receipts. `unsettled`: those to look at again. `damaged`: those that
    could not be read.
    """

    def __init__(
        self,
        work: Work,
        ends: Ends,
        claimed: Mapping[str, Seen],
        audit_log: AuditLogIndex | None,
        known: Unsettled,
        idle: Container[str],
    ) -> None:
        self._work, self._ends, self._audit_log = work, ends, audit_log
        self._idle, self._audit_log_is_down = idle, False
        self._claimed = {packed(task_id): seen for task_id, seen in claimed.items()}
        self.times, self.unsettled = Ids(), Unsettled()
        self.damaged: dict[bytes, ObjectInfo] = {}
        self._failed: set[bytes] = set()
        self.unread: set[bytes] = set()
        """Of these nobody knows whether they wait."""
        self.waiting = missing_messages.waiting()
        self.waited_for: set[bytes] = set()
        """Of the tasks with a claim, or with a result but no record, those that
        somebody waits for.
        """
        for listed in chunks(self._open(known)):
            self._look_at(listed)

    def _open(self, known: Unsettled) -> Iterator[tuple[ObjectInfo, Entry | None]]:
        """The receipts that are new, or that were unsettled when they were last looked
        at.
        """
        work = self._work
        remembered = iter(known)
        last = next(remembered, None)
        for info in work.ctx.store.list(work.ctx.settings.bucket_results, PREFIX):
            upload = _upload(info)
            if not upload:
                continue
            self.times.add(upload, info.last_modified)
            while last is not None and last.upload < upload:
                last = next(remembered, None)
            if last is not None and (last.upload, last.written) == (
                upload,
                info.last_modified,
            ):
                yield info, last
            elif work.marks.is_new(info) or self._ended_since(upload, info):
                yield info, None

    def _ended_since(self, upload: bytes, info: ObjectInfo) -> bool:
        when = self._ends.new_reasons.when(upload)
        return when is not None and self._work.marks.is_new(info, when)

    def _look_at(self, listed: list[tuple[ObjectInfo, Entry | None]]) -> None:
        new = [info for info, entry in listed if entry is None]
        read = {
            info.key: entry
            for info, data in self._work.read(new)
            if (entry := self._seen(info, data))
        }
        self.unread |= {_upload(info) for info in new if info.key not in read}
        found = [(info, entry or read.get(info.key)) for info, entry in listed]
        entries = [(info, entry) for info, entry in found if entry is not None]
        settled = self._settled(entries)
        for info, entry in entries:
            if entry.upload not in settled:
                self.unsettled.add(entry)
                self._work.marks.unsettled(entry.written)
            if self._ends.when(entry) is None:
                self._wait(info, entry)
        self._work.marks.passed(listed[-1][0].key, len(new))

    def _seen(self, info: ObjectInfo, data: bytes) -> Entry | None:
        return self._work.apart.step(
            "receipts", ident_of(info), lambda: self._entry(info, data)
        )

    def _entry(self, info: ObjectInfo, data: bytes) -> Entry | None:
        upload = _upload(info)
        try:
            receipt = Receipt.from_bytes(data, info.key)
        except PermanentError:
            self.damaged[upload] = info
            self._work.report.damaged += 1
            return None
        task = packed(receipt.task_id or "")
        queued = receipt.decision == "queued" and bool(task)
        interactive = receipt.priority == "interactive"
        return Entry(
            upload,
            task,
            info.last_modified,
            receipt.source.upload_time,
            interactive,
            queued,
            receipt.lane,
            receipt.callback is not None,
        )

    def _wait(self, info: ObjectInfo, entry: Entry) -> None:
        self._work.report.waiting += 1
        seen = self._claimed.get(entry.task)
        if seen or entry.task in self._ends.orphans:
            self.waited_for.add(entry.task)
        photos = self.waiting[entry.queue]
        if seen is None or seen.has_message:
            photos.add(entry, old=info.age_s > self._work.ctx.settings.lease_s)
        else:
            photos.begun += seen.claim.in_progress

    def _settled(self, entries: list[tuple[ObjectInfo, Entry]]) -> set[bytes]:
        """Those whose end the bucket knows, the audit log and whoever is to be called. A
        young end may be on its way.
        """
        ended = [
            (info, entry, when)
            for info, entry in entries
            if (when := self._ends.when(entry))
        ]
        grace = timedelta(seconds=self._work.ctx.settings.lease_s)
        old = [
            entry
            for info, entry, when in ended
            if (info.served_at or when) - when > grace
        ]
        ends = self._endings(old)
        if self._audit_log is None:
            known = ends.keys() | {
                entry.upload
                for _, entry, _ in ended
                if not self._ends.has_reason(entry)
            }
        else:
            known = self._written(self._audit_log, ends)
        asked = {entry.upload for _, entry, _ in ended if entry.callback}
        return (
            known
            - self._failed
            - (asked - self._called([entry for entry in old if entry.callback]))
        )

    def _endings(self, old: list[Entry]) -> dict[bytes, Ending]:
        """What the audit log should say of each, as far as it is in order in the bucket."""
        found = endings(
            self._work,
            self._ends,
            [entry for entry in old if self._ends.has_reason(entry)],
        )
        for entry in old:
            if self._ends.has_reason(entry):
                continue
            if (
                entry.shares
                and not self._ends.has_record(entry)
                and self._is_restored(entry)
            ):
                continue
            at_least: Status = (
                "duplicate"
                if self._ends.has_record(entry) and entry.queued
                else "rejected"
            )
            found[entry.upload] = Ending(*entry.ref, at_least)
        return found

    def _is_restored(self, entry: Entry) -> bool:
        restored = self._work.apart.step(
            "shared",
            ident_of(entry),
            lambda: missing_messages.restore_shared(self._work, entry),
        )
        if restored is None:
            self._failed.add(entry.upload)
        return restored is not False

    def _called(self, entries: list[Entry]) -> set[bytes]:
        """Those whose call is in the call_log; the others are told to the callbacks
        process again.
        """
        ctx = self._work.ctx
        call_log = CallLog(
            ctx.store, ctx.settings.bucket_results, ctx.settings.callback_timeout_s
        )

        def knows(entry: Entry) -> bool:
            return call_log.has(entry.ref)

        asked = dict(
            self._work.apart.each(
                "callbacks", self._work.pool, knows, entries, ident_of
            )
        )
        known = {entry.upload for entry, is_known in asked.items() if is_known is True}
        missing = [
            text(entry.upload) for entry, is_known in asked.items() if is_known is False
        ]
        if missing and topology.CALLBACKS in self._idle:
            self._work.report.webhooks_requested += len(missing)
            if not self._work.dry_run:
                ctx.publisher.publish_many(
                    topology.CALLBACKS,
                    [CallbackDue(upload_id=i).encode() for i in missing],
                )
        return known

    def _written(
        self, audit_log: AuditLogIndex, ends: Mapping[bytes, Ending]
    ) -> set[bytes]:
        """Those whose end the audit log has; the others are told to it again."""
        if not ends or self._audit_log_is_down:
            return set()
        try:
            known = self._known(audit_log, list(ends.values()))
            # Told after its twins were, the erasure is known after them, too.
            erased = [
                end for end in ends.values() if end.erased and end.upload_id in known
            ]
            for twin in audit_log.twins(erased) if erased else []:
                erase = partial(self._erase, twin)
                self._work.apart.step("twin", twin.upload_id, erase)
        except DatabaseUnavailable:
            self._audit_log_is_down = True  # asked again by the next pass
            return set()
        if topology.LOG in self._idle:
            self._retell(
                [end.upload_id for end in ends.values() if end.upload_id not in known]
            )
        return {packed(upload_id) for upload_id in known}

    def _erase(self, ref: UploadRef) -> None:
        """What its owner would have erased with its task, had the log known of it."""
        ctx = self._work.ctx
        receipt = ctx.uploads.receipt(ref.upload_id)
        if receipt.ref == ref and receipt.task_id and not self._work.dry_run:
            erasure.erase(ctx, receipt.task_id, [receipt])

    def _known(self, audit_log: AuditLogIndex, ends: list[Ending]) -> set[str]:
        """Ids of those ends that the audit log has; one that it cannot be asked about costs
        the others nothing.
        """
        try:
            return audit_log.ended(ends)
        except DatabaseUnavailable:
            raise
        except Exception as error:
            if len(ends) > 1:
                middle = len(ends) // 2
                return self._known(audit_log, ends[:middle]) | self._known(
                    audit_log, ends[middle:]
                )
            self._work.apart.fault("audit_log", ends[0].upload_id, error)
            return set()

    def _retell(self, upload_ids: list[str]) -> None:
        told = []
        for upload_id in upload_ids:
            read = partial(self._events, upload_id)
            found = self._work.apart.step("retell", upload_id, read)
            told += found or []
            self._work.report.events_resent += bool(found)
        if not self._work.dry_run:
            self._work.ctx.publisher.publish_many(topology.LOG, told)

    def _events(self, upload_id: str) -> list[bytes]:
        ctx = self._work.ctx
        try:
            receipt = ctx.uploads.receipt(upload_id)
            outcome = ctx.uploads.outcome(receipt)
        except PermanentError:
            return []  # gone or damaged meanwhile: the next pass sees to it
        found = events.of_upload(receipt, outcome, ctx.settings.bucket_results)
        return [event.encode() for event in found]


def _upload(info: ObjectInfo) -> bytes:
    return packed(info.key.removeprefix(PREFIX).removesuffix(".json"))
