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
from handlers.audit_log.database import Ending
from handlers.reconcile import damage
from handlers.reconcile.finished import Ends
from handlers.reconcile.isolation import ident_of
from handlers.reconcile.pass_context import Work
from handlers.reconcile.tables import Entry, text
from handlers.retelling import read_reason, read_receipt, read_record
from shared.errors import Code, NotFound, PermanentError
from shared.runtime.telemetry import logger
from shared.uploads import claims, keys
from shared.uploads.cancellation import WITHDRAWN
from shared.uploads.documents import Reason, Record


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
    upload_id = text(entry.upload)
    try:
        reason = read_reason(work.ctx, upload_id)
    except NotFound:
        return None  # the photo was given a fresh start meanwhile
    except PermanentError:
        return "damaged"
    if reason.source.upload_time > entry.upload_time:
        # of a later upload, whose receipt came after this pass had listed them
        return None
    if reason.source.upload_time < entry.upload_time:
        _drop(work, reason)
        return None
    if reason.error_code in WITHDRAWN and _is_in_work(work, reason):
        return None  # whoever has it in hand cleans up behind himself
    try:
        return _kept(work, ends, entry, reason)
    except PermanentError:
        return None  # another document is gone or damaged, which is seen to elsewhere


def _kept(work: Work, ends: Ends, entry: Entry, reason: Reason) -> Ending:
    end = Ending(
        reason.upload_id,
        entry.upload_time,
        "rejected",
        reason.retries,
        reason.error_code == Code.ERASED,
    )
    record = (
        _record(work, reason.task_id)
        if reason.task_id and (end.erased or ends.has_record(entry))
        else None
    )
    if not end.erased:  # an attempt that had been given up may have succeeded after all
        return (
            end._replace(least="duplicate", retries=0)
            if record and record.is_of(reason)
            else end
        )
    if not work.dry_run and reason.task_id:
        # else it was uploaded again, and has a result
        if record is None or record.is_of(reason):
            erasure.take_away_results(work.ctx, reason.task_id)
        receipt = read_receipt(work.ctx, reason.upload_id)
        # else the same bytes came again meanwhile
        if receipt.source.upload_time == entry.upload_time:
            erasure.take_away_upload(work.ctx, receipt)
    return end


def _drop(work: Work, reason: Reason) -> None:
    """The end of an earlier upload of the same bytes at the same key, from a late
    worker, is not that of the later.
    """
    if not work.dry_run:
        work.ctx.store.delete(
            work.ctx.settings.bucket_quarantine, keys.reason(reason.upload_id)
        )
    logger().warning("reason.superseded", upload_id=reason.upload_id)


def _is_in_work(work: Work, reason: Reason) -> bool:
    if reason.task_id is None:
        return False
    settings = work.ctx.settings
    claim = claims.latest(work.ctx.store, settings.bucket_results, reason.task_id)
    if claim is None or not claim.in_progress:
        return False
    return claim.due_s(settings.lease_s) > 0


def _record(work: Work, task_id: str) -> Record | None:
    try:
        return read_record(work.ctx, task_id)
    except NotFound:
        return None
