"""The audit log, written again from the bucket: `python -m handlers rebuild [--json]`.

Every event is derived from a document exactly as it was at first. So a rebuild beside a
complete audit log changes nothing, and one beside an audit log that lost a part fills
the gap. Nothing in the bucket is changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from pydantic import BaseModel

from handlers.audit_log.database import AuditLog
from handlers.context import Context
from handlers.on_record import EventWriter
from handlers.reconcile.pass_context import chunks
from handlers.reconcile.tables import Ids, packed, text
from shared.errors import Code, NotFound, PermanentError
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger
from shared.uploads import events, keys
from shared.uploads.messages import LogEvent
from shared.uploads.outcome import outcome_of

READERS = 8

ONLY_THE_DATABASE_KNEW = (
    "when each attempt began, and which attempts failed before the last one (`processing` events)",
    "uploads that were deleted before the handler saw them: they left no receipt",
    "earlier uploads of bytes that were put again at the same key: the receipt is that of the last one",
    "events that were rejected into darkroom.audit_reject",
    "when each row last changed (`updated_at`)",
)


class RebuildReport(BaseModel):
    """Counts. `added` events were new to the audit log, `repeated` ones were in it;
    `damaged` documents could not be read.
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
    """Write everything that the bucket knows into the audit log.

    Raises `StorageUnavailable` and `DatabaseUnavailable`: it can be run again.
    """
    with ThreadPoolExecutor(READERS, "rebuild") as executor:
        rebuilding = _Rebuild(ctx, audit_log, executor)
        rebuilding.run()
    report = rebuilding.report
    counts = report.model_dump(exclude={"only_the_database_knew"})
    logger().info("rebuild.finished", **counts)
    return report


class _Rebuild:
    """Documents are read in chunks, several at a time; of all others only the ids are
    kept, 24 bytes each.
    """

    def __init__(
        self,
        ctx: Context,
        audit_log: EventWriter,
        executor: ThreadPoolExecutor,
    ) -> None:
        self.report = RebuildReport()
        self._ctx = ctx
        self._audit_log = audit_log
        self._executor = executor

    def run(self) -> None:
        """Write the events of all receipts, then those of records and reasons whose
        receipt is lost.
        """
        settings = self._ctx.settings
        records = self._ids(settings.bucket_results, keys.PROCESSED, ".json")
        receipts = self._ids(settings.bucket_results, "receipts/", ".json")
        reasons = self._ids(settings.bucket_quarantine, "", "/reason.json")
        records_alone = self._write_receipts(receipts, records, reasons)
        for _ in self._write_all(records_alone, self._of_record):
            self.report.records_alone += 1
        reasons_alone = [upload for upload in reasons if upload not in receipts]
        for _ in self._write_all(reasons_alone, self._of_reason):
            self.report.reasons_alone += 1

    def _write_receipts(self, receipts: Ids, records: Ids, reasons: Ids) -> list[bytes]:
        """Write the events of all receipts; return the tasks of the other records."""
        is_written = bytearray(len(records))

        def of_upload(upload_id: str) -> list[LogEvent]:
            return self._of_upload(upload_id, packed(upload_id) in reasons)

        for found in self._write_all(receipts, of_upload):
            self.report.receipts += 1
            for event in found:
                place = records.place(packed(event.task_id or ""))
                if event.kind == "success" and place is not None:
                    is_written[place] = True
        return [records[place] for place, done in enumerate(is_written) if not done]

    def _of_upload(self, upload_id: str, has_reason: bool) -> list[LogEvent]:
        """Like `UploadStore.outcome`, but without a request for reasons that are not
        listed.
        """
        uploads = self._ctx.uploads
        receipt = uploads.receipt(upload_id)
        reason = uploads.reason_if_any(upload_id) if has_reason else None
        record = uploads.record_if_any(receipt.task_id) if receipt.task_id else None
        outcome = outcome_of(receipt, record, reason)
        found = events.of_upload(receipt, outcome, self._ctx.settings.bucket_results)
        # The erasure of an earlier upload of the same bytes at the same key.
        if reason and reason.ref != receipt.ref and reason.error_code == Code.ERASED:
            found.append(events.of_reason(reason))
        return found

    def _of_record(self, task_id: str) -> list[LogEvent]:
        record = self._ctx.uploads.record(task_id)
        if record.preview:
            return []
        return [events.of_record(record, self._ctx.settings.bucket_results)]

    def _of_reason(self, upload_id: str) -> list[LogEvent]:
        return [events.of_reason(self._ctx.uploads.reason(upload_id))]

    def _ids(self, bucket: str, prefix: str, ending: str) -> Ids:
        found = Ids()
        for info in self._ctx.store.list(bucket, prefix):
            name = info.key.removeprefix(prefix)
            ident = packed(name.removesuffix(ending))
            if ident and name.endswith(ending):
                found.add(ident, info.last_modified)
        return found

    def _write_all(
        self,
        idents: Iterable[bytes],
        read: Callable[[str], list[LogEvent]],
    ) -> Iterator[list[LogEvent]]:
        """Write the events that `read` makes of each id; yield those of each document
        that could be read.
        """

        def events_of(ident: bytes) -> list[LogEvent] | None:
            try:
                return read(text(ident))
            except NotFound:
                return []
            except PermanentError:
                return None

        for chunk in chunks(idents):
            found = list(self._executor.map(events_of, chunk))
            self.report.damaged += found.count(None)
            of_documents = [of_document for of_document in found if of_document]
            self._write(list(chain.from_iterable(of_documents)))
            yield from of_documents

    def _write(self, found: list[LogEvent]) -> None:
        written = self._audit_log.write(found)
        self.report.added += written.added
        self.report.repeated += written.repeated
        self.report.rejected += written.rejected


def main(settings: Settings, arguments: Sequence[str] = ()) -> int:
    """Run `python -m handlers rebuild [--json]`.

    Raises `TransientError`: store or database could not be reached.
    """
    parser = argparse.ArgumentParser("python -m handlers rebuild")
    parser.add_argument(
        "--json", action="store_true", help="print nothing but one JSON object"
    )
    options = parser.parse_args(arguments)
    report = rebuild(Context.of(settings), AuditLog(settings))
    print(report.model_dump_json() if options.json else _table(report))
    return 0


def _table(report: RebuildReport) -> str:
    counts = report.model_dump(exclude={"only_the_database_knew"})
    lines = [f"{name:14} {value}" for name, value in counts.items()]
    lines.append("only the database knew:")
    lines += [f"  - {thing}" for thing in report.only_the_database_knew]
    return "\n".join(lines)
