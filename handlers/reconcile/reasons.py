"""Ends without a result, looked at when they are a lease old: the reason can be read,
is about this very upload, and, where its owner took the photo back, nothing of it is
left.

Whoever takes a photo back writes the reason first, and a worker that has it in hand
asks for it last: one of the two cleans up. Where he dies in the middle, it is done
here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from handlers import erasure
from handlers.audit_log.values import Ending
from handlers.reconcile import damage
from handlers.reconcile.finished import Ends
from handlers.reconcile.isolation import ident_of
from handlers.reconcile.pass_context import Work
from handlers.reconcile.tables import Entry, text
from shared.errors import Code, NotFound, PermanentError
from shared.runtime.telemetry import logger
from shared.uploads import claims
from shared.uploads.documents import Reason
from shared.uploads.outcome import WITHDRAWN


def endings(work: Work, ends: Ends, entries: Sequence[Entry]) -> dict[bytes, Ending]:
    """Of those uploads whose reason is in order, by upload; the next pass looks at the
    others again.
    """
    found = dict(
        work.apart.each(
            "reasons", work.pool, partial(_ending, work, ends), entries, ident_of
        )
    )
    for ident in [
        ident_of(entry) for entry, ending in found.items() if ending == "damaged"
    ]:
        work.report.damaged += 1
        if not work.dry_run:
            repaired = work.apart.step(
                "damage", ident, partial(damage.repair_reason, work.ctx, ident)
            )
            work.report.repaired += bool(repaired)
    return {
        entry.upload: ending
        for entry, ending in found.items()
        if isinstance(ending, Ending)
    }


def _ending(work: Work, ends: Ends, entry: Entry) -> Ending | Literal["damaged"] | None:
    try:
        reason = work.ctx.uploads.reason(entry.ref.upload_id)
    except NotFound:
        return None  # the photo was given a fresh start meanwhile
    except PermanentError:
        return "damaged"
    if reason.ref != entry.ref:
        # A later one's receipt came after this pass had listed them.
        if reason.source.upload_time < entry.upload_time:
            _drop(work, reason)
        return None
    if reason.error_code in WITHDRAWN and _is_in_work(work, reason):
        return None  # the worker that has it in hand cleans up itself
    try:
        return _kept(work, ends, entry, reason)
    except PermanentError:
        return None  # another document is gone or damaged, which is seen to elsewhere


def _kept(work: Work, ends: Ends, entry: Entry, reason: Reason) -> Ending:
    """What the log must say, at the least, of an upload with this reason."""
    if reason.error_code == Code.ERASED:
        if not work.dry_run:
            _finish_erasure(work, reason)
        return Ending(*entry.ref, "rejected", reason.retries, erased=True)
    if ends.has_record(entry):
        record = work.ctx.uploads.record_if_any(text(entry.task))
        # An attempt that had been given up may have succeeded after all.
        if record and record.ref == reason.ref:
            return Ending(*entry.ref, "duplicate")
    return Ending(*entry.ref, "rejected", reason.retries)


def _finish_erasure(work: Work, reason: Reason) -> None:
    if reason.task_id is None:
        return
    uploads = work.ctx.uploads
    record = uploads.record_if_any(reason.task_id)
    # Else it was uploaded again, and has a result.
    if record is None or record.ref == reason.ref:
        erasure.take_away_results(work.ctx, reason.task_id)
    receipt = uploads.receipt(reason.upload_id)
    # Else the same bytes came again meanwhile.
    if receipt.ref == reason.ref:
        erasure.take_away_upload(work.ctx, receipt)


def _drop(work: Work, reason: Reason) -> None:
    """The end of an earlier upload of the same bytes at the same key, from a late
    worker, is not that of the later.
    """
    if not work.dry_run:
        work.ctx.uploads.delete_reason(reason.upload_id)
    logger().warning("reason.superseded", upload_id=reason.upload_id)


def _is_in_work(work: Work, reason: Reason) -> bool:
    if reason.task_id is None:
        return False
    settings = work.ctx.settings
    claim = claims.latest(work.ctx.store, settings.bucket_results, reason.task_id)
    if claim is None or not claim.in_progress:
        return False
    return claim.due_s(settings.lease_s) > 0
