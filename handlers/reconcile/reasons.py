"""Ends without a result: their reasons are checked, and erasures completed.

Finds: uploads with a reason that is a lease old. Does: makes a damaged reason anew,
deletes one of an earlier upload, and completes an erasure that broke off. Safe to
repeat: each of these finds nothing to do the second time.

The owner who takes an upload back writes the reason first, and a worker that has the
photo in work reads it last, so one of the two deletes the results. Where that one
crashes, it is done here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from handlers import erasure
from handlers.audit_log.values import Ending
from handlers.reconcile import damage
from handlers.reconcile.finished import FinishedIndex
from handlers.reconcile.isolation import ident_of
from handlers.reconcile.pass_context import PassContext
from handlers.reconcile.tables import Entry, text
from shared.errors import Code, NotFound, PermanentError
from shared.runtime.telemetry import logger
from shared.uploads import claims
from shared.uploads.documents import Reason
from shared.uploads.outcome import WITHDRAWN


def endings_of_reasons(
    sweep: PassContext,
    finished: FinishedIndex,
    entries: Sequence[Entry],
) -> dict[bytes, Ending]:
    """Return the ends of those uploads whose reason is in order, by upload.

    The next pass looks at the others again.
    """
    checked = sweep.isolation.run_each(
        "reasons",
        sweep.executor,
        partial(_ending, sweep, finished),
        entries,
        ident_of,
    )
    endings = {}
    for entry, ending in list(checked):
        if isinstance(ending, Ending):
            endings[entry.upload] = ending
        elif ending == "damaged":
            _repair(sweep, ident_of(entry))
    return endings


def _repair(sweep: PassContext, upload_id: str) -> None:
    sweep.report.damaged += 1
    if sweep.dry_run:
        return
    repair = partial(damage.repair_reason, sweep.ctx, upload_id)
    repaired = sweep.isolation.run("damage", upload_id, repair)
    sweep.report.repaired += bool(repaired)


def _ending(
    sweep: PassContext,
    finished: FinishedIndex,
    entry: Entry,
) -> Ending | Literal["damaged"] | None:
    try:
        reason = sweep.uploads.reason(entry.ref.upload_id)
    except NotFound:
        return None  # the photo was given a fresh start meanwhile
    except PermanentError:
        return "damaged"
    if reason.ref != entry.ref:
        # A reason of a later upload came after this pass had listed the receipts.
        if reason.source.upload_time < entry.upload_time:
            _delete_superseded(sweep, reason)
        return None
    if reason.error_code in WITHDRAWN and _is_in_work(sweep, reason):
        return None  # the worker deletes what it made
    try:
        return _checked_ending(sweep, finished, entry, reason)
    except PermanentError:
        return None  # another document is gone or damaged, which its own stage repairs


def _checked_ending(
    sweep: PassContext,
    finished: FinishedIndex,
    entry: Entry,
    reason: Reason,
) -> Ending:
    """Return what the audit log must say, at the least, of an upload with this reason."""
    if reason.error_code == Code.ERASED:
        if not sweep.dry_run:
            _complete_erasure(sweep, reason)
        return Ending(*entry.ref, "rejected", reason.retries, erased=True)
    if finished.has_record(entry):
        record = sweep.uploads.record_if_any(text(entry.task))
        # An attempt that had been given up may have succeeded after all.
        if record and record.ref == reason.ref:
            return Ending(*entry.ref, "duplicate")
    return Ending(*entry.ref, "rejected", reason.retries)


def _complete_erasure(sweep: PassContext, reason: Reason) -> None:
    uploads = sweep.uploads
    receipt = uploads.receipt(reason.upload_id)
    if reason.task_id is None and receipt.decision != "held":
        return
    if reason.task_id:
        record = uploads.record_if_any(reason.task_id)
        # Otherwise the photo was uploaded again, and has a result.
        if record is None or record.ref == reason.ref:
            erasure.take_away_results(sweep.ctx, reason.task_id)
    # Otherwise the same bytes were put again at this key meanwhile.
    if receipt.ref == reason.ref:
        erasure.take_away_upload(sweep.ctx, receipt)


def _delete_superseded(sweep: PassContext, reason: Reason) -> None:
    """Delete the reason of an earlier upload of the same bytes at the same key, which a
    late worker wrote: it is not the end of the later upload.
    """
    if not sweep.dry_run:
        sweep.uploads.delete_reason(reason.upload_id)
    logger().warning("reason.superseded", upload_id=reason.upload_id)


def _is_in_work(sweep: PassContext, reason: Reason) -> bool:
    if reason.task_id is None:
        return False
    settings = sweep.settings
    claim = claims.latest(sweep.store, settings.bucket_results, reason.task_id)
    if claim is None or not claim.in_progress:
        return False
    return claim.due_s(settings.lease_s) > 0
