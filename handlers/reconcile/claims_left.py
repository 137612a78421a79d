"""A late stage: claims of tasks for which no upload waits are deleted.

Finds: claims older than a lease whose task has ended for every upload. Does: deletes
all attempts of the task, and its draft. Safe to repeat: deleted claims are no longer listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from handlers.reconcile.due_retries import SeenClaim
from handlers.reconcile.pass_context import PassContext
from handlers.reconcile.receipts import ReceiptIndex
from handlers.reconcile.tables import packed
from shared.uploads import keys


def delete_claims_left(
    sweep: PassContext,
    receipts: ReceiptIndex,
    claimed: Mapping[str, SeenClaim],
) -> None:
    """Delete the claims that belong to no waiting upload."""
    for task_id, seen in claimed.items():
        is_old = seen.claim.info.age_s > sweep.settings.lease_s
        if is_old and not _is_waited_for(receipts, task_id, seen):
            sweep.report.claims_deleted += _are_deleted(sweep, task_id)


def _is_waited_for(receipts: ReceiptIndex, task_id: str, seen: SeenClaim) -> bool:
    if packed(task_id) in receipts.waited_for:
        return True
    # A receipt that could not be read may wait.
    return packed(seen.claim.note.upload_id) in receipts.unread


def _are_deleted(sweep: PassContext, task_id: str) -> bool:
    if sweep.dry_run:
        return True
    delete = partial(_delete, sweep, task_id)
    return bool(sweep.isolation.run("claims", task_id, delete))


def _delete(sweep: PassContext, task_id: str) -> bool:
    bucket = sweep.settings.bucket_results
    for info in list(sweep.store.list(bucket, keys.claims(task_id))):
        sweep.store.delete(bucket, info.key)
    # Of a worker that died it is nobody else's to delete.
    sweep.store.delete(bucket, keys.draft(task_id))
    return True
