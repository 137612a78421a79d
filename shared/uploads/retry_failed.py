"""A photo that had failed gets a fresh start: nothing in the buckets says any more that
it ended or was tried.

The order is the design: the receipt is written first, and with a new age, so that the
sweep looks at it again; a crash after that leaves a photo that waits without a message,
which the sweep finds, or one that is reopened once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from shared.runtime.settings import AttemptSettings
from shared.s3.store import ObjectStore
from shared.uploads import claims, events, keys
from shared.uploads.documents import Receipt
from shared.uploads.messages import RestoreTask
from shared.uploads.outcome import WITHDRAWN
from shared.uploads.store import UploadStore


class Publisher(Protocol):
    def publish(
        self, queue: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None: ...


def reopen(
    task: RestoreTask,
    store: ObjectStore,
    publisher: Publisher,
    settings: AttemptSettings,
    now: datetime,
) -> bool:
    """Take back the end of the upload that `task` is about. False: it has not failed,
    nothing was changed.

    Raises `StorageUnavailable`, `BrokerUnavailable`: call it again.
    """
    uploads = UploadStore(store, settings)
    receipt = uploads.readable_receipt(task.upload_id)
    if receipt is None or receipt.task_id != task.task_id:
        return False  # the worker will say what is wrong with it
    if not _has_failed(receipt, uploads):
        return False
    again = receipt.model_copy(
        update={"retries": receipt.retries + 1, "retried_at": now}
    )
    uploads.write_receipt(again)
    events.publish_event(
        publisher, events.of_receipt(again, settings.bucket_results), again
    )
    _forget_attempts(task.task_id, store, settings)
    if not _has_failed(receipt, uploads):
        # Its owner took it back meanwhile, and the sweep finishes that.
        return False
    store.delete(
        settings.bucket_quarantine,
        keys.quarantined(again.upload_id, again.source.key, again.source.filename),
    )
    uploads.delete_reason(again.upload_id)
    # its next end is told, too
    store.delete(settings.bucket_results, keys.callback_told(again.upload_id))
    return True


def _has_failed(receipt: Receipt, uploads: UploadStore) -> bool:
    """Whether its reason says so. What its owner took back stays so.

    The outcome does not tell: a fresh start that broke off has taken it back already.
    """
    reason = uploads.reason_of(receipt.ref)
    return (
        reason is not None
        and reason.status == "failed"
        and reason.error_code not in WITHDRAWN
    )


def _forget_attempts(
    task_id: str, store: ObjectStore, settings: AttemptSettings
) -> None:
    """Unless the task is being worked on, for another upload of the same photo."""
    log = claims.claim_log(store, settings.bucket_results)
    last = log.latest(task_id)
    if last is None:
        return
    if not last.in_progress or last.due_s(settings.lease_s) <= 0:
        log.clear(task_id, last.number)
