"""Stage 1: which tasks have a record, and which uploads a reason.

Finds: records and reasons, by listing; records that are new since the last pass are
read. Does: makes a damaged record anew (`damage.repair_record`). Safe to repeat: the
listing changes nothing, and a repaired record is read as any other.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial

from handlers.reconcile import damage
from handlers.reconcile.orphans import Orphans
from handlers.reconcile.pass_context import PassContext, chunks
from handlers.reconcile.tables import Entry, Ids, packed
from shared.errors import PermanentError
from shared.s3.store import ObjectInfo
from shared.uploads import keys
from shared.uploads.documents import Record


class FinishedIndex:
    """The ends that the bucket has, by task (records) and by upload (reasons).

    `new_reasons` came since the last pass: their receipts are looked at, however old
    those are. `orphans` are results without a record.
    """

    def __init__(self) -> None:
        self.records = Ids()
        self.reasons = Ids()
        self.new_reasons = Ids()
        self.orphans = Orphans()

    def when(self, entry: Entry) -> datetime | None:
        """Return when an upload ended, by the store's clock. None: it did not yet."""
        if not entry.queued:
            return entry.written
        return self.records.when(entry.task) or self.reasons.when(entry.upload)

    def has_reason(self, entry: Entry) -> bool:
        return entry.upload in self.reasons

    def has_record(self, entry: Entry) -> bool:
        return entry.task in self.records


def scan_finished(sweep: PassContext) -> FinishedIndex:
    """List all records and reasons."""
    index = FinishedIndex()
    settings = sweep.settings
    listing = sweep.store.list(settings.bucket_results, keys.PROCESSED)
    for listed in chunks(listing):
        _add_records(sweep, index, listed)
    for info in sweep.store.list(settings.bucket_quarantine):
        upload_id, _, name = info.key.partition("/")
        upload = packed(upload_id)
        if upload and name == "reason.json":
            index.reasons.add(upload, info.last_modified)
            if sweep.watermarks.is_since(info.last_modified):
                index.new_reasons.add(upload, info.last_modified)
    return index


def _add_records(
    sweep: PassContext,
    index: FinishedIndex,
    listed: list[ObjectInfo],
) -> None:
    records = [info for info in listed if info.key.endswith(".json")]
    new = [info for info in records if sweep.watermarks.is_new(info)]
    unusable = {
        info.key
        for info, data in sweep.read_all(new)
        if not _is_usable(sweep, info, data)
    }
    for info in listed:
        name, _, kind = info.key.removeprefix(keys.PROCESSED).rpartition(".")
        task = packed(name)
        if task and kind == "json" and info.key not in unusable:
            index.records.add(task, info.last_modified)
        elif task and kind == "png" and task not in index.records:
            index.orphans.add(task, info)
    sweep.watermarks.passed(listed[-1].key, len(new))


def _is_usable(sweep: PassContext, info: ObjectInfo, data: bytes) -> bool:
    """Return whether the task has a record that can be read, if need be after its
    repair.
    """
    try:
        Record.from_bytes(data, info.key)
    except PermanentError:
        return _is_repaired(sweep, info)
    return True


def _is_repaired(sweep: PassContext, info: ObjectInfo) -> bool:
    sweep.report.damaged += 1
    if sweep.dry_run:
        return False
    task_id = info.key.removeprefix(keys.PROCESSED).removesuffix(".json")
    repair = partial(damage.repair_record, sweep.ctx, task_id)
    repaired = sweep.isolation.run("damage", task_id, repair)
    if repaired is None:
        sweep.read_again(info)
        return False
    sweep.report.repaired += repaired
    # Without its result the record was deleted instead.
    return repaired and sweep.uploads.has_record(task_id)
