"""Trigger: look whether anything was lost between uploads, receipts, results and the
audit log, and make it good.

One pass lists the four places once, in key order, and keeps 24 bytes for each id
(`reconcile.tables`), so a million uploads fit into some 80 MB. It reads only documents
that are new since the last pass (`reconcile.watermark`), and remembers those that wait.
Every age is measured by the store's own clock. A pass may be repeated, or run beside
another one. Its stages, each a file of `handlers.reconcile`:

1. `finished`: records and reasons are listed; damaged records are made anew.
2. `due_retries`: claims are listed. `receipts`: uploads that ended are settled
   (`settlement`): reasons are checked (`reasons`), events missing from the audit log
   and lost webhooks are published again (`missing_events`, `missing_webhooks`).
3. `missing_messages`: as many waiting photos as there are messages missing are
   published, and so are the attempts that are due.
4. `uploads`: uploads without a receipt are given to `on_upload`.
5. `orphans`, `claims_left`, `abandoned_multiparts`, `previews`, `held`: what is no
   longer needed is cleared away.

In a bucket with versions the current version of each key counts; a version that was
overwritten before it was looked at is superseded. A deleted or overwritten source is
found by the worker, which ends the photo with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from handlers.context import Context
from handlers.reconcile.abandoned_multiparts import end_abandoned
from handlers.reconcile.claims_left import delete_claims_left
from handlers.reconcile.due_retries import DueRetries, SeenClaim
from handlers.reconcile.finished import scan_finished
from handlers.reconcile.held import erase_expired
from handlers.reconcile.isolation import Isolation
from handlers.reconcile.missing_events import AuditLogIndex
from handlers.reconcile.missing_messages import publish_lost
from handlers.reconcile.pass_context import PassContext
from handlers.reconcile.previews import delete_expired
from handlers.reconcile.receipts import ReceiptIndex, ReceiptScan
from handlers.reconcile.report import SweepReport
from handlers.reconcile.settlement import Settlement
from handlers.reconcile.tables import Unsettled
from handlers.reconcile.uploads import look_at_uploads
from handlers.reconcile.watermark import Watermarks
from shared.broker.depth import Backlog, backlog
from shared.runtime.telemetry import logger

READERS = 8


@dataclass
class Memory:
    """What a process that sweeps again and again need not read twice.

    Without it the watermark in the bucket counts.
    """

    since: datetime | None = None
    unsettled: Unsettled = field(default_factory=Unsettled)
    retries: DueRetries | None = None


Backlogs = Callable[[], Mapping[str, Backlog]]
"""Returns the messages of every queue."""


def on_sweep(
    ctx: Context,
    since: datetime | None = None,
    dry_run: bool = False,
    *,
    audit_log: AuditLogIndex | None = None,
    memory: Memory | None = None,
    backlogs: Backlogs | None = None,
) -> SweepReport:
    """Make one pass. With `since`, only younger objects count, and nothing is cleared
    away.

    Raises `StorageUnavailable` and `BrokerUnavailable`: the next pass begins where this
    one began.
    """
    started_s = ctx.clock.monotonic()
    report = SweepReport(dry_run=dry_run)
    is_partial = dry_run or since is not None
    watermarks = Watermarks.open(ctx.store, ctx.settings.bucket_results, is_partial)
    with ThreadPoolExecutor(READERS, "sweep") as executor:
        sweep = PassContext(ctx, watermarks, report, executor, since, Isolation(ctx))
        _pass(
            sweep,
            audit_log,
            memory or Memory(),
            backlogs or (lambda: backlog(ctx.settings)),
        )
    report.failed = sweep.isolation.take_failed()
    report.seconds = round(ctx.clock.monotonic() - started_s, 3)
    logger().info("sweep.finished", **report.printed())
    return report


def _pass(
    sweep: PassContext,
    audit_log: AuditLogIndex | None,
    memory: Memory,
    backlogs: Backlogs,
) -> None:
    begin = sweep.since or memory.since
    if begin:
        sweep.watermarks.begin_at(begin)
    # What seems lost may still be on its way in a queue that is not empty.
    idle = {queue for queue, messages in backlogs().items() if sum(messages) == 0}
    finished = scan_finished(sweep)
    retries = memory.retries or DueRetries(sweep.ctx)
    claimed = retries.latest_claims()
    settlement = Settlement(sweep, finished, audit_log, idle)
    scan = ReceiptScan(sweep, finished, claimed, settlement)
    receipts = scan.run(memory.unsettled)
    sweep.report.receipts = len(receipts.times)
    _publish_lost(sweep, receipts, claimed, backlogs)
    sweep.report.retried = _publish_due(sweep, retries, claimed)
    look_at_uploads(sweep, receipts)
    sweep.isolation.failed += retries.take_failed()
    if sweep.since is None:
        finished.orphans.retire(sweep, receipts.waited_for)
        delete_claims_left(sweep, receipts, claimed)
        end_abandoned(sweep)
        delete_expired(sweep)
        erase_expired(sweep)
        sweep.watermarks.finished()
        memory.since = sweep.watermarks.reread
        memory.unsettled = receipts.unsettled


def _publish_lost(
    sweep: PassContext,
    receipts: ReceiptIndex,
    claimed: Mapping[str, SeenClaim],
    backlogs: Backlogs,
) -> None:
    # The messages are counted after the photos: what came in meanwhile makes the number
    # of missing messages too small, never too large.
    messages = backlogs()
    for photos in receipts.waiting.values():
        publish_lost(sweep, photos, messages[photos.queue], claimed)


def _publish_due(
    sweep: PassContext,
    retries: DueRetries,
    claimed: Mapping[str, SeenClaim],
) -> int:
    if sweep.dry_run:
        return sum(seen.is_due for seen in claimed.values())
    return retries.publish_due()
