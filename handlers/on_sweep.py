"""Trigger: look whether anything was lost between uploads, receipts, results and the
audit_log, and make it good.

One pass lists the four places once, in key order, and keeps 24 bytes for each id
(`sweep.tables`), so a million uploads fit into some 80 MB. It reads only documents that
are new since the last pass (`sweep.marks`), and remembers those that wait. Every age is
reckoned by the store's own clock. What it does may be done twice, or beside another
sweep:

- an upload older than `lease_s` without a receipt, or younger than its receipt, is
  given to `on_upload`;
- a try that is due is published (`sweep.calls`), and so are as many waiting photos as
  messages are missing (`sweep.lost`); everything else that waits is left alone;
- a document that cannot be read is made anew (`sweep.damage`);
- an erasure that broke off is finished (`sweep.reasons`);
- an end that the audit log does not know is told again, once the log queue is empty, and
  likewise a callback that nobody has in hand;
- claims of tasks that nobody waits for are deleted, results without a record that
  nobody waits for are retired;
- uploads in parts that were abandoned are ended (`sweep.parts`), previews of long ago
  deleted (`sweep.previews`).

Of a bucket with versions the current version of each key counts; a version that was
overwritten before it was looked at is superseded. A deleted or overwritten source is
the worker's to find: it ends the photo with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from handlers.context import Context
from handlers.reconcile import missing_messages
from handlers.reconcile.abandoned_multiparts import end_abandoned
from handlers.reconcile.due_retries import Calls, Seen
from handlers.reconcile.finished import Ends
from handlers.reconcile.isolation import Apart
from handlers.reconcile.pass_context import Work
from handlers.reconcile.previews import delete_expired
from handlers.reconcile.receipts import AuditLogIndex, Receipts
from handlers.reconcile.report import SweepReport
from handlers.reconcile.tables import Unsettled, packed
from handlers.reconcile.uploads import look_at_uploads
from handlers.reconcile.watermark import Marks
from shared.broker.depth import Backlog, backlog
from shared.runtime.telemetry import logger
from shared.uploads import keys

READERS = 8


@dataclass
class Memory:
    """What a process that sweeps again and again need not read twice; without it the
    watermark in the bucket counts.
    """

    since: datetime | None = None
    unsettled: Unsettled = field(default_factory=Unsettled)
    calls: Calls | None = None


Backlogs = Callable[[], Mapping[str, Backlog]]
"""The messages of every queue."""


def on_sweep(
    ctx: Context,
    since: datetime | None = None,
    dry_run: bool = False,
    *,
    audit_log: AuditLogIndex | None = None,
    memory: Memory | None = None,
    backlogs: Backlogs | None = None,
) -> SweepReport:
    """One pass. `since`: look only at what is younger, and clear nothing away.

    Raises `StorageUnavailable`, `BrokerUnavailable`: the next pass begins where this
    one began.
    """
    started = ctx.clock.monotonic()
    report = SweepReport(dry_run=dry_run)
    marks = Marks.open(
        ctx.store, ctx.settings.bucket_results, dry_run or since is not None
    )
    with ThreadPoolExecutor(READERS, "sweep") as pool:
        work = Work(ctx, marks, report, pool, since, Apart(ctx))
        _pass(
            work,
            audit_log,
            memory or Memory(),
            backlogs or (lambda: backlog(ctx.settings)),
        )
    report.failed = work.apart.taken()
    report.seconds = round(ctx.clock.monotonic() - started, 3)
    logger().info("sweep.finished", **report.printed())
    return report


def _pass(
    work: Work, audit_log: AuditLogIndex | None, memory: Memory, backlogs: Backlogs
) -> None:
    if begin := work.since or memory.since:
        work.marks.begin_at(begin)
    # Of other queues, what seems lost may be on its way.
    idle = {queue for queue, messages in backlogs().items() if sum(messages) == 0}
    ends, calls = Ends(work), memory.calls or Calls(work.ctx)
    claimed = calls.look()
    receipts = Receipts(work, ends, claimed, audit_log, memory.unsettled, idle)
    work.report.receipts = len(receipts.times)
    # after the look at the photos: what came in meanwhile makes the count careful, not
    # greedy
    messages = backlogs()
    for photos in receipts.waiting.values():
        work.report.republished += missing_messages.publish_lost(
            work, photos, messages[photos.queue], claimed
        )
    work.report.retried = (
        sum(seen.due for seen in claimed.values()) if work.dry_run else calls.call_due()
    )
    look_at_uploads(work, receipts)
    work.apart.failed += calls.failed()
    if work.since is None:
        _clear_away(work, ends, receipts, claimed)
        end_abandoned(work)
        delete_expired(work)
        work.marks.finished()
        memory.since, memory.unsettled = work.marks.reread, receipts.unsettled


def _clear_away(
    work: Work, ends: Ends, receipts: Receipts, claimed: Mapping[str, Seen]
) -> None:
    ends.retire_orphans(receipts.waited_for)
    for task_id, seen in claimed.items():
        waits = (
            packed(task_id) in receipts.waited_for
            or packed(seen.claim.note.upload_id) in receipts.unread
        )
        if not waits and seen.claim.info.age_s > work.ctx.settings.lease_s:
            forgotten = work.dry_run or work.apart.step(
                "claims", task_id, partial(_forget, work, task_id)
            )
            work.report.claims_deleted += bool(forgotten)


def _forget(work: Work, task_id: str) -> bool:
    bucket = work.ctx.settings.bucket_results
    for info in list(work.ctx.store.list(bucket, keys.claims(task_id))):
        work.ctx.store.delete(bucket, info.key)
    return True
