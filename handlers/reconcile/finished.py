"""First stage: which tasks have a record and which uploads a reason; new records are
read, to see that they can be.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from datetime import datetime
from functools import partial

from handlers.reconcile import damage
from handlers.reconcile.pass_context import Work, chunks
from handlers.reconcile.tables import Entry, Ids, packed, text
from shared.errors import PermanentError
from shared.s3.store import ObjectInfo
from shared.uploads import keys
from shared.uploads.documents import Record

ORPHAN_S = 3600.0
"""Age at which a result without a record belongs to no attempt that could still write
one.
"""
ORPHANS = 10_000
"""Most of them looked after in one pass."""


class Ends:
    """The ends that the bucket knows."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._records, self._reasons = Ids(), Ids()
        self.new_reasons = Ids()
        """The receipts of these must be looked at, however old they are."""
        self._orphans: dict[bytes, ObjectInfo] = {}
        settings = work.ctx.settings
        for listed in chunks(
            work.ctx.store.list(settings.bucket_results, "processed/")
        ):
            self._look_at(listed)
        for info in work.ctx.store.list(settings.bucket_quarantine):
            upload_id, _, name = info.key.partition("/")
            if name == "reason.json" and (upload := packed(upload_id)):
                self._reasons.add(upload, info.last_modified)
                if work.marks.is_since(info.last_modified):
                    self.new_reasons.add(upload, info.last_modified)

    def when(self, entry: Entry) -> datetime | None:
        """When an upload ended, by the store's clock; None: it did not yet."""
        if not entry.queued:
            return entry.written
        return self._records.when(entry.task) or self._reasons.when(entry.upload)

    def has_reason(self, entry: Entry) -> bool:
        return entry.upload in self._reasons

    def has_record(self, entry: Entry) -> bool:
        return entry.task in self._records

    def retire_orphans(self, waited_for: Container[bytes]) -> None:
        """Move results that no record names, and that nobody waits for, into the
        archive bucket.
        """
        for task, info in self._orphans.items():
            if task not in waited_for:
                self._work.apart.step(
                    "orphans", text(task), partial(self._retire, info, text(task))
                )

    def _retire(self, info: ObjectInfo, task_id: str) -> None:
        work, store, settings = (
            self._work,
            self._work.ctx.store,
            self._work.ctx.settings,
        )
        if work.ctx.uploads.has_record(task_id):
            return
        work.report.results_retired += 1
        if work.dry_run:
            return
        store.copy(info, settings.bucket_archive, info.key)
        store.delete(settings.bucket_results, info.key)
        store.delete(settings.bucket_results, keys.preview(task_id))
        # a worker found the result there, and committed it meanwhile
        if work.ctx.uploads.has_record(task_id):
            store.copy(
                replace(info, bucket=settings.bucket_archive),
                settings.bucket_results,
                info.key,
            )

    @property
    def orphans(self) -> Container[bytes]:
        return self._orphans.keys()

    def _look_at(self, listed: list[ObjectInfo]) -> None:
        new = [
            info
            for info in listed
            if info.key.endswith(".json") and self._work.marks.is_new(info)
        ]
        damaged = {
            info.key
            for info, data in self._work.read(new)
            if not self._is_whole(info, data)
        }
        for info in listed:
            name, _, kind = info.key.removeprefix("processed/").rpartition(".")
            task = packed(name)
            if task and kind == "json" and info.key not in damaged:
                self._records.add(task, info.last_modified)
            elif task and kind == "png" and task not in self._records:
                self._consider(task, info)
        self._work.marks.passed(listed[-1].key, len(new))

    def _consider(self, task: bytes, info: ObjectInfo) -> None:
        if info.age_s > ORPHAN_S and len(self._orphans) < ORPHANS:
            self._orphans[task] = info

    def _is_whole(self, info: ObjectInfo, data: bytes) -> bool:
        """Whether there is a record that can be read, if need be after its repair."""
        try:
            Record.from_bytes(data, info.key)
        except PermanentError:
            report = self._work.report
            report.damaged += 1
            task_id = info.key.removeprefix("processed/").removesuffix(".json")
            if self._work.dry_run:
                return False
            repaired = self._work.apart.step(
                "damage", task_id, lambda: damage.repair_record(self._work.ctx, task_id)
            )
            if repaired is None:
                self._work.again(info)
                return False
            report.repaired += repaired
            return repaired and self._work.ctx.uploads.has_record(task_id)
        return True
