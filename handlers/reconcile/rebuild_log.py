"""The audit log, written again from the bucket: `python -m handlers rebuild [--json]`.

Every event is derived from a document exactly as it was at first, so a rebuild beside a
audit_log that is whole changes nothing, and one beside a audit log that lost a part fills the
gap. Nothing in the bucket is changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from pydantic import BaseModel

from handlers.audit_log.database import AuditLog
from handlers.context import Context
from handlers.on_record import EventWriter
from handlers.reconcile.pass_context import chunks
from handlers.reconcile.tables import Ids, packed, text
from shared.errors import Code, NotFound, PermanentError
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger
from shared.uploads import events
from shared.uploads.messages import LogEvent
from shared.uploads.outcome import outcome_of

READERS = 8

ONLY_THE_DATABASE_KNEW = (
    "when each attempt began, and which attempts failed before the last one (`processing` events)",
    "uploads that were deleted before the handler saw them: they left no receipt",
    "earlier uploads of bytes that were put again at the same key: the receipt is that of the last one",
    "events that were set aside in darkroom.audit_reject",
    "when each row last changed (`updated_at`)",
)


class RebuildReport(BaseModel):
    """Counts. `added` events were new to the audit log, `repeated` ones it knew; `damaged`
    documents could not be read.
    """

    receipts: int = 0
    records_alone: int = 0
    reasons_alone: int = 0
    added: int = 0
    repeated: int = 0
    rejected: int = 0
    damaged: int = 0
    only_the_database_knew: tuple[str, ...] = ONLY_THE_DATABASE_KNEW


def rebuild(ctx: Context, audit_log: EventWriter) -> RebuildReport:
    """Tell the audit log all that the bucket knows. Raises `StorageUnavailable`,
    `DatabaseUnavailable`: run it again.
    """
    with ThreadPoolExecutor(READERS, "rebuild") as pool:
        one = _Rebuild(ctx, audit_log, pool)
        one.run()
    logger().info(
        "rebuild.finished", **one.report.model_dump(exclude={"only_the_database_knew"})
    )
    return one.report


class _Rebuild:
    """Documents are read side by side, a chunk at a time; of all others only the ids
    are kept, 24 bytes apiece.
    """

    def __init__(
        self, ctx: Context, audit_log: EventWriter, pool: ThreadPoolExecutor
    ) -> None:
        self.report = RebuildReport()
        self._ctx, self._audit_log, self._pool = ctx, audit_log, pool

    def run(self) -> None:
        settings = self._ctx.settings
        records = self._ids(settings.bucket_results, "processed/", ".json")
        receipts = self._ids(settings.bucket_results, "receipts/", ".json")
        reasons = self._ids(settings.bucket_quarantine, "", "/reason.json")
        told = bytearray(len(records))

        def of_upload(ident: str) -> list[LogEvent]:
            return self._of_upload(ident, packed(ident) in reasons)

        for batch in self._tell(receipts, of_upload):
            self.report.receipts += 1
            for event in batch:
                place = (
                    records.place(packed(event.task_id or ""))
                    if event.kind == "success"
                    else None
                )
                if place is not None:
                    told[place] = True
        alone = [records[place] for place, known in enumerate(told) if not known]
        bucket = settings.bucket_results

        def events_of(ident: str) -> list[LogEvent]:
            record = self._ctx.uploads.record(ident)
            return [] if record.preview else [events.of_record(record, bucket)]

        for _ in self._tell(alone, events_of):
            self.report.records_alone += 1
        alone = [upload for upload in reasons if upload not in receipts]
        for _ in self._tell(
            alone, lambda ident: [events.of_reason(self._ctx.uploads.reason(ident))]
        ):
            self.report.reasons_alone += 1

    def _of_upload(self, upload_id: str, has_reason: bool) -> list[LogEvent]:
        """As `UploadStore.outcome`, but for the reasons that no listing showed."""
        uploads = self._ctx.uploads
        receipt = uploads.receipt(upload_id)
        reason = uploads.reason_if_any(upload_id) if has_reason else None
        record = uploads.record_if_any(receipt.task_id) if receipt.task_id else None
        outcome = outcome_of(receipt, record, reason)
        found = events.of_upload(receipt, outcome, self._ctx.settings.bucket_results)
        # Of an earlier upload of the same bytes at its key.
        if reason and reason.ref != receipt.ref and reason.error_code == Code.ERASED:
            found.append(events.of_reason(reason))
        return found

    def _ids(self, bucket: str, prefix: str, ending: str) -> Ids:
        found = Ids()
        for info in self._ctx.store.list(bucket, prefix):
            name = info.key.removeprefix(prefix)
            if name.endswith(ending) and (ident := packed(name.removesuffix(ending))):
                found.add(ident, info.last_modified)
        return found

    def _tell(
        self, idents: Iterable[bytes], read: Callable[[str], list[LogEvent]]
    ) -> Iterator[list[LogEvent]]:
        """Tell the audit log what `read` knows of each; the events of each document that
        could be read.
        """

        def events_of(ident: bytes) -> list[LogEvent] | None:
            try:
                return read(text(ident))
            except NotFound:
                return []
            except PermanentError:
                return None

        for chunk in chunks(idents):
            found = list(self._pool.map(events_of, chunk))
            self.report.damaged += found.count(None)
            whole = [events for events in found if events]
            self._write([event for events in whole for event in events])
            yield from whole

    def _write(self, events: list[LogEvent]) -> None:
        written = self._audit_log.write(events)
        self.report.added += written.added
        self.report.repeated += written.repeated
        self.report.rejected += written.rejected


def main(settings: Settings, arguments: Sequence[str] = ()) -> int:
    """`python -m handlers rebuild [--json]`. Raises `TransientError`: store or database
    could not be reached.
    """
    parser = argparse.ArgumentParser("python -m handlers rebuild")
    parser.add_argument(
        "--json", action="store_true", help="print nothing but one JSON object"
    )
    options = parser.parse_args(arguments)
    report = rebuild(Context.of(settings), AuditLog(settings))
    print(report.model_dump_json() if options.json else _lines(report))
    return 0


def _lines(report: RebuildReport) -> str:
    counts = report.model_dump(exclude={"only_the_database_knew"})
    known = (f"  - {thing}" for thing in report.only_the_database_knew)
    return "\n".join(
        [
            *(f"{name:14} {value}" for name, value in counts.items()),
            "only the database knew:",
            *known,
        ]
    )
