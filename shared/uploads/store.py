"""The receipts, records and reasons in the buckets: their only reader and writer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from operator import attrgetter
from typing import TypeVar

from shared.errors import Code, NotFound, ObjectUnreadable, PermanentError
from shared.runtime.settings import StoreSettings
from shared.s3.objects import ObjectInfo
from shared.s3.store import ObjectStore
from shared.uploads import keys
from shared.uploads.documents import (
    Document,
    Held,
    Reason,
    Receipt,
    Record,
    Run,
    Superseded,
)
from shared.uploads.outcome import ERASED_KEY, WITHDRAWN, Outcome, outcome_of
from shared.uploads.ref import UploadRef

JSON = "application/json"

D = TypeVar("D", bound=Document)


class UploadStore:
    """What is known of uploads. All methods raise `StorageUnavailable`.

    A damaged document proves nothing, and the sweep makes it anew. Until then:

    - what acts on a document, or publishes what it says, asks by `receipt`, `record`,
      `reason` and `outcome`. They raise `PermanentError(bad_document)`, as neither "it
      ended" nor "it waits" would be true: the caller tries again later;
    - what only shows it, or looks for proof, asks by `readable_receipt`,
      `readable_record`, `reason_of` and `readable_outcome`. To them a damaged document
      is as good as none.
    """

    def __init__(self, objects: ObjectStore, settings: StoreSettings) -> None:
        self._objects = objects
        self._results = settings.bucket_results
        self._quarantine = settings.bucket_quarantine

    def outcome(self, receipt: Receipt) -> Outcome | None:
        """How the upload of `receipt` ended; None while it has not.

        Raises `PermanentError(bad_document)` where its reason, or the record of its
        task, is damaged.
        """
        reason = self.reason_if_any(receipt.upload_id)
        outcome = outcome_of(receipt, None, reason)
        if receipt.task_id is None or (outcome and outcome.is_final):
            return outcome
        return outcome_of(receipt, self.record_if_any(receipt.task_id), reason)

    def readable_outcome(self, receipt: Receipt) -> Outcome | None:
        """How the upload ended, as far as documents that can be read say so."""
        record = self.readable_record(receipt.task_id) if receipt.task_id else None
        return outcome_of(receipt, record, self.reason_of(receipt.ref))

    def seems_ended(self, receipt: Receipt) -> bool:
        """Whether the upload has an outcome. A record or a reason that the store does not
        give, but has, counts as one.

        Raises `PermanentError(bad_document)`, as `outcome` does.
        """
        try:
            return self.outcome(receipt) is not None
        except ObjectUnreadable:
            reason_key = keys.reason(receipt.upload_id)
            return (
                self.has_record(receipt.task_id or "")
                or self._head(self._quarantine, reason_key) is not None
            )

    # Reading

    def receipt(self, upload_id: str) -> Receipt:
        """Raises `NotFound`, or `PermanentError(bad_document)`."""
        return self._read(Receipt, self._results, keys.receipt(upload_id))

    def record(self, task_id: str) -> Record:
        """Raises `NotFound`, or `PermanentError(bad_document)`."""
        return self._read(Record, self._results, keys.record(task_id))

    def record_if_any(self, task_id: str) -> Record | None:
        """None: there is none. Raises `PermanentError(bad_document)`."""
        return _if_any(self.record, task_id)

    def reason(self, upload_id: str) -> Reason:
        """The reason at the place of an upload; it may be of another one of this id.

        Raises `NotFound`, or `PermanentError(bad_document)`.
        """
        return self._read(Reason, self._quarantine, keys.reason(upload_id))

    def reason_if_any(self, upload_id: str) -> Reason | None:
        """None: there is none. Raises `PermanentError(bad_document)`."""
        return _if_any(self.reason, upload_id)

    def readable_receipt(self, upload_id: str) -> Receipt | None:
        """None: there is none, or it is damaged."""
        return _readable(self.receipt, upload_id)

    def readable_record(self, task_id: str) -> Record | None:
        """None: there is none, or it is damaged."""
        return _readable(self.record, task_id)

    def reason_of(self, ref: UploadRef) -> Reason | None:
        """Why this very upload ended, where a readable reason says so."""
        reason = _readable(self.reason, ref.upload_id)
        return reason if reason and reason.ref == ref else None

    def superseded(self, upload_id: str) -> list[Superseded]:
        """The receipts that this upload's took the place of, but for damaged ones."""
        found = []
        for info in list(self._objects.list(self._results, keys.earlier(upload_id))):
            with suppress(PermanentError):
                found.append(self._read(Superseded, info.bucket, info.key))
        return found

    def runs(self, upload_id: str) -> list[Run]:
        """The runs of an uploaded photo as they were started, the earliest first, but
        for damaged ones.
        """
        found = []
        for info in list(self._objects.list(self._results, keys.runs(upload_id))):
            with suppress(PermanentError):
                found.append(self._read(Run, info.bucket, info.key))
        return sorted(found, key=attrgetter("decided_at", "upload_id"))

    def has_runs(self, upload_id: str) -> bool:
        """Whether a photo was started, and its owner did not erase all that came of it.

        A start that broke off before it had a receipt is none.
        """
        listed = list(self._objects.list(self._results, keys.runs(upload_id)))
        names = [keys.filename(info.key).removesuffix(".json") for info in listed]
        return any(self.receipt_info(name) for name in names)

    def photo_of(self, receipt: Receipt) -> Receipt:
        """The receipt of the upload whose bytes `receipt` is about: of a run, that of
        the photo.

        Raises `NotFound`, also where other bytes took the place of the photo's, and
        `PermanentError(bad_document)`.
        """
        if receipt.run_of is None:
            return receipt
        photo = self.receipt(receipt.run_of)
        if photo.user_hash != receipt.user_hash:
            raise NotFound(Code.SOURCE_CHANGED, "another user put the same photo there")
        return photo

    def hold_info(self, upload_id: str) -> ObjectInfo | None:
        """The mark of an upload that waits for its start; None: there is none."""
        return self._head(self._results, keys.held(upload_id))

    def receipt_info(self, upload_id: str) -> ObjectInfo | None:
        """What the store says of a receipt; None: there is none."""
        return self._head(self._results, keys.receipt(upload_id))

    def has_record(self, task_id: str) -> bool:
        """Whether there is a record of the task, damaged or not."""
        return self._head(self._results, keys.record(task_id)) is not None

    def is_erased(self, receipt: Receipt) -> bool:
        """Whether the photo was erased, by its owner or as it was not started in time."""
        if receipt.source.key == ERASED_KEY:
            return True
        reason = self.reason_of(receipt.ref)
        return reason is not None and reason.error_code in (Code.ERASED, Code.EXPIRED)

    def is_withdrawn(self, upload: Receipt | Reason) -> bool:
        """Whether the owner cancelled or erased this upload.

        Its reason says so; or, where its bytes came again at its key and the later
        upload has the place of the reason, its superseded receipt.
        """
        reason = self.reason_of(upload.ref)
        if reason and reason.error_code in WITHDRAWN:
            return True
        if upload.source.version:
            return (
                False  # each version is an upload of its own, and is never superseded
            )
        key = keys.earlier(upload.upload_id, upload.source.upload_time, upload.task_id)
        try:
            superseded = self._read(Superseded, self._results, key)
        except PermanentError:  # there is almost never one
            return False
        return superseded.source.key == ERASED_KEY

    # Writing

    def write_receipt(self, receipt: Receipt) -> None:
        """Write over what is there.

        The age of the receipt begins anew, so the sweep looks at it as at a new one.
        """
        self._write(self._results, receipt.place(), receipt)

    def write_new_receipt(self, receipt: Receipt) -> bool:
        """Write it where there is none. False: another was first."""
        return self._write_new(self._results, receipt.place(), receipt)

    def write_run(self, run: Receipt) -> None:
        """Write down what leads from a photo to its run; before the run's receipt."""
        self._write(self._results, Run.of(run).place(), Run.of(run))

    def delete_run(self, run: Receipt) -> None:
        self._objects.delete(self._results, Run.of(run).place())

    def hold(self, upload_id: str) -> None:
        """Mark an upload that waits for its start; it expires from now on."""
        self._write(self._results, keys.held(upload_id), Held())

    def release_hold(self, upload_id: str) -> None:
        """It does not expire any more."""
        self._objects.delete(self._results, keys.held(upload_id))

    def write_record(self, record: Record) -> None:
        """Write over what is there: for the repair of a damaged one."""
        self._write(self._results, record.place(), record)

    def commit_record(self, record: Record) -> bool:
        """Write it where there is none, which makes the photo restored.

        False: another was first.
        """
        return self._write_new(self._results, record.place(), record)

    def delete_record(self, task_id: str) -> None:
        """The photo is to be restored again."""
        self._objects.delete(self._results, keys.record(task_id))

    def write_reason(self, reason: Reason) -> None:
        """Write over what is there."""
        self._write(self._quarantine, reason.place(), reason)

    def write_new_reason(self, reason: Reason) -> bool:
        """Write it where there is none. False: another was first."""
        return self._write_new(self._quarantine, reason.place(), reason)

    def delete_reason(self, upload_id: str) -> None:
        """Whichever upload of this id it is of."""
        self._objects.delete(self._quarantine, keys.reason(upload_id))

    def delete_results(self, task_id: str) -> None:
        """Copies, credentials, pyramids, result, preview, mask and record; a bucket with versions
        keeps those.
        """
        for prefix in keys.beside(task_id):
            for info in list(self._objects.list(self._results, prefix)):
                self._objects.delete(self._results, info.key)
        for key in keys.results(task_id):
            self._objects.delete(self._results, key)

    def _read(self, kind: type[D], bucket: str, key: str) -> D:
        return kind.from_bytes(self._objects.read(bucket, key), key)

    def _head(self, bucket: str, key: str) -> ObjectInfo | None:
        try:
            return self._objects.head(bucket, key)
        except NotFound:
            return None

    def _write(self, bucket: str, key: str, document: Document) -> None:
        self._objects.put(bucket, key, document.to_bytes(), JSON)

    def _write_new(self, bucket: str, key: str, document: Document) -> bool:
        return self._objects.put_new(bucket, key, document.to_bytes(), JSON)


def _if_any(read: Callable[[str], D], ident: str) -> D | None:
    try:
        return read(ident)
    except NotFound:
        return None


def _readable(read: Callable[[str], D], ident: str) -> D | None:
    try:
        return read(ident)
    except PermanentError:
        return None
