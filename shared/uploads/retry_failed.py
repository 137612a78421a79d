"""A photo that had failed gets a fresh start: nothing in the buckets says any more that
it ended or was tried.

The order is the design: the receipt is written first, and with a new age, so that the
sweep looks at it again; a crash after that leaves a photo that waits without a message,
which the sweep finds, or one that is reopened once more.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from shared.errors import Code, NotFound, PermanentError
from shared.runtime.settings import Settings
from shared.s3.store import ObjectStore
from shared.uploads import claims, events, keys
from shared.uploads.cancellation import WITHDRAWN
from shared.uploads.documents import Reason, Receipt
from shared.uploads.messages import RestoreTask


class Publisher(Protocol):
    def publish(self, queue: str, body: bytes) -> None: ...


def reopen(
    task: RestoreTask,
    store: ObjectStore,
    publisher: Publisher,
    settings: Settings,
    now: datetime,
) -> bool:
    """Take back the end of the upload that `task` is about. False: it has not failed,
    nothing was changed.

    Raises `StorageUnavailable`, `BrokerUnavailable`: call it again.
    """
    try:
        receipt = _read(task, store, settings)
    except PermanentError:
        return False  # the worker will say what is wrong with it
    again = receipt.model_copy(
        update={"retries": receipt.retries + 1, "retried_at": now}
    )
    store.put(
        settings.bucket_results,
        keys.receipt(again.upload_id),
        again.to_bytes(),
        "application/json",
    )
    events.tell(publisher, events.of_receipt(again, settings.bucket_results), again)
    _forget_attempts(task.task_id, store, settings)
    try:
        _failure(receipt, store, settings)
    except PermanentError:
        # its owner took it back meanwhile: the sweep finishes what he began
        return False
    store.delete(
        settings.bucket_quarantine,
        keys.quarantined(again.upload_id, again.source.key, again.source.filename),
    )
    store.delete(settings.bucket_quarantine, keys.reason(again.upload_id))
    # its next end is told, too
    store.delete(settings.bucket_results, keys.callback_told(again.upload_id))
    return True


def _read(task: RestoreTask, store: ObjectStore, settings: Settings) -> Receipt:
    """The receipt. Raises `PermanentError` where there is none for this task, or its
    photo has not failed.
    """
    key = keys.receipt(task.upload_id)
    receipt = Receipt.from_bytes(store.read(settings.bucket_results, key), key)
    if receipt.task_id != task.task_id:
        raise NotFound(Code.BAD_DOCUMENT, f"{key} is not about task {task.task_id}")
    _failure(receipt, store, settings)
    return receipt


def _failure(receipt: Receipt, store: ObjectStore, settings: Settings) -> None:
    """Raises `PermanentError` where the photo has not failed. What its owner took back
    stays so.
    """
    key = keys.reason(receipt.upload_id)
    reason = Reason.from_bytes(store.read(settings.bucket_quarantine, key), key)
    if reason.status != "failed" or reason.error_code in WITHDRAWN:
        raise NotFound(reason.error_code, f"{key} is not about a failure")


def _forget_attempts(task_id: str, store: ObjectStore, settings: Settings) -> None:
    """Unless the task is being worked on, for another upload of the same photo."""
    log = claims.claim_log(store, settings.bucket_results)
    last = log.latest(task_id)
    if last is None:
        return
    if not last.in_progress or last.due_s(settings.lease_s) <= 0:
        log.clear(task_id, last.number)
