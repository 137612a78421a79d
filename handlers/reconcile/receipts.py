"""Stage 2: every receipt whose upload is not settled.

Finds: receipts that are new since the last pass, or that were not settled then. Does:
settles the uploads that ended (`settlement`), and counts the photos that wait, so that
later stages can find lost messages. Safe to repeat: see `settlement`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from handlers.reconcile.due_retries import SeenClaim
from handlers.reconcile.finished import FinishedIndex
from handlers.reconcile.isolation import ident_of
from handlers.reconcile.missing_messages import waiting_by_queue
from handlers.reconcile.pass_context import PassContext, chunks
from handlers.reconcile.settlement import ListedReceipt, Settlement
from handlers.reconcile.tables import Entry, Ids, Unsettled, packed
from shared.errors import PermanentError
from shared.s3.store import ObjectInfo
from shared.uploads.documents import Receipt

PREFIX = "receipts/"

Candidate = tuple[ObjectInfo, Entry | None]
"""A receipt to look at; with its entry where it has not changed since the last pass."""


class ReceiptIndex:
    """What the later stages need of the receipts.

    `times`: of all receipts. `unsettled`: to look at again in the next pass. `damaged`
    and `unread`: could not be read, so that it is unknown whether these uploads wait.
    `held`: of these that were read now, uploads that nobody started yet.
    `waiting`: photos that wait, by queue. `waited_for`: tasks with a claim, or with a
    result and no record, for which an upload waits.
    """

    def __init__(self) -> None:
        self.times = Ids()
        self.unsettled = Unsettled()
        self.damaged: set[bytes] = set()
        self.unread: set[bytes] = set()
        self.held: set[bytes] = set()
        self.waiting = waiting_by_queue()
        self.waited_for: set[bytes] = set()


class ReceiptScan:
    """Lists all receipts once, and fills an index."""

    def __init__(
        self,
        sweep: PassContext,
        finished: FinishedIndex,
        claimed: Mapping[str, SeenClaim],
        settlement: Settlement,
    ) -> None:
        self._sweep = sweep
        self._finished = finished
        self._claimed = {packed(task_id): seen for task_id, seen in claimed.items()}
        self._settlement = settlement
        self._index = ReceiptIndex()

    def run(self, unsettled_before: Unsettled) -> ReceiptIndex:
        """Return the index. `unsettled_before` is that of the pass before."""
        for candidates in chunks(self._candidates(unsettled_before)):
            self._add(candidates)
        return self._index

    def _candidates(self, unsettled_before: Unsettled) -> Iterator[Candidate]:
        """Merge the listing with the entries of the last pass; both are sorted by
        upload id.
        """
        ctx = self._sweep.ctx
        remembered = iter(unsettled_before)
        entry = next(remembered, None)
        for info in ctx.store.list(ctx.settings.bucket_results, PREFIX):
            upload = _upload_of(info)
            if not upload:
                continue
            self._index.times.add(upload, info.last_modified)
            while entry is not None and entry.upload < upload:
                entry = next(remembered, None)
            if entry is not None and _is_unchanged(entry, upload, info):
                yield info, entry
            elif self._is_new(upload, info):
                yield info, None

    def _is_new(self, upload: bytes, info: ObjectInfo) -> bool:
        """Return whether the receipt, or the reason of its upload, came since the last
        pass.
        """
        watermarks = self._sweep.watermarks
        if watermarks.is_new(info):
            return True
        ended = self._finished.new_reasons.when(upload)
        return ended is not None and watermarks.is_new(info, ended)

    def _add(self, candidates: list[Candidate]) -> None:
        new = [info for info, entry in candidates if entry is None]
        read = self._read(new)
        receipts = []
        for info, remembered in candidates:
            entry = remembered or read.get(info.key)
            if entry is not None:
                receipts.append(ListedReceipt(info, entry))
        settled = self._settlement.settled(receipts)
        for receipt in receipts:
            if receipt.entry.upload not in settled:
                self._index.unsettled.add(receipt.entry)
                self._sweep.watermarks.unsettled(receipt.entry.written)
            if self._finished.when(receipt.entry) is None:
                self._count_waiting(receipt)
        last_info, _ = candidates[-1]
        self._sweep.watermarks.passed(last_info.key, len(new))

    def _read(self, infos: list[ObjectInfo]) -> dict[str, Entry]:
        """Read receipts; return their entries by key."""
        entries: dict[str, Entry] = {}
        for info, data in self._sweep.read_all(infos):
            parse = partial(self._parse, info, data)
            entry = self._sweep.isolation.run("receipts", ident_of(info), parse)
            if entry:
                entries[info.key] = entry
        unread = {_upload_of(info) for info in infos if info.key not in entries}
        self._index.unread |= unread - self._index.held
        return entries

    def _parse(self, info: ObjectInfo, data: bytes) -> Entry | None:
        upload = _upload_of(info)
        try:
            receipt = Receipt.from_bytes(data, info.key)
        except PermanentError:
            self._index.damaged.add(upload)
            self._sweep.report.damaged += 1
            return None
        if receipt.decision == "held" and upload not in self._finished.reasons:
            # Nothing is asked for yet, so it neither waits nor has an end to compare.
            self._index.held.add(upload)
            return None
        task = packed(receipt.task_id or "")
        return Entry(
            upload=upload,
            task=task,
            written=info.last_modified,
            upload_time=receipt.source.upload_time,
            interactive=receipt.priority == "interactive",
            queued=receipt.decision == "queued" and bool(task),
            lane=receipt.lane,
            callback=receipt.callback is not None,
        )

    def _count_waiting(self, receipt: ListedReceipt) -> None:
        info, entry = receipt.info, receipt.entry
        self._sweep.report.waiting += 1
        seen = self._claimed.get(entry.task)
        if seen or entry.task in self._finished.orphans:
            self._index.waited_for.add(entry.task)
        photos = self._index.waiting[entry.queue]
        if seen is None or seen.has_message:
            is_old = info.age_s > self._sweep.settings.lease_s
            photos.add(entry, is_old)
        else:
            photos.begun += seen.claim.in_progress


def _upload_of(info: ObjectInfo) -> bytes:
    return packed(info.key.removeprefix(PREFIX).removesuffix(".json"))


def _is_unchanged(entry: Entry, upload: bytes, info: ObjectInfo) -> bool:
    return entry.upload == upload and entry.written == info.last_modified
