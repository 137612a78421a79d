"""Which waiting photos have no message any more, by counting.

A photo that waits in a long queue looks exactly like one whose message was lost: both
have a receipt and no end. But every waiting photo has at least one message, so where
more photos wait than messages are there, the difference is lost; and queues are emptied
oldest first, so the oldest are the lost ones. Publishing these makes the numbers equal:
a second pass finds nothing to do, and a backlog of any length is never doubled. A photo
that a worker has begun has a claim, which speaks for it; it and its message are left
out of the count. A photo that was published again has its receipt written again, as it
was: its age by the store's clock is the age of its newest message, so the next guess
falls on another one. A wrong guess costs a look at the record.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from handlers.context import Context
from handlers.reconcile.due_retries import Seen
from handlers.reconcile.pass_context import Work, chunks
from handlers.reconcile.tables import Entry, micros, text
from shared.broker import topology
from shared.broker.depth import Backlog
from shared.errors import PermanentError
from shared.runtime.failpoints import passing
from shared.runtime.telemetry import logger
from shared.uploads.documents import Receipt

MOST = 10_000
"""Photos published again in one pass; bounds the memory, and what a wrong count could
do.
"""


@dataclass
class Waiting:
    """The photos that wait in one queue: how many, and the oldest of those old enough
    to be called lost.
    """

    queue: str
    count: int = 0
    begun: int = 0
    """Photos in work, whose messages are in hand."""
    _oldest: list[tuple[int, bytes]] = field(default_factory=list)

    def add(self, entry: Entry, old: bool) -> None:
        self.count += 1
        if old:
            heapq.heappush(self._oldest, (-micros(entry.written), entry.upload))
            if len(self._oldest) > MOST:
                heapq.heappop(self._oldest)  # the youngest

    def oldest(self) -> list[str]:
        """Upload ids, oldest first."""
        return [text(upload) for _, upload in sorted(self._oldest, reverse=True)]


def waiting() -> dict[str, Waiting]:
    return {queue: Waiting(queue) for queue in topology.COUNTED}


def publish_lost(
    work: Work, photos: Waiting, messages: Backlog, claimed: Mapping[str, Seen]
) -> int:
    """Publish again what was lost of one queue, which has these messages; number of
    photos.

    Raises `StorageUnavailable`, `BrokerUnavailable`.
    """
    published = 0
    missing = photos.count - messages.ready - max(0, messages.in_hand - photos.begun)
    # Photos that ended, or were begun, while we looked are no longer without a message:
    # they count as found.
    for upload_ids in chunks(photos.oldest()[: max(0, missing)]):
        found = work.apart.each(
            "lost",
            work.pool,
            partial(_still_waiting, work.ctx, claimed),
            upload_ids,
            str,
        )
        receipts = [receipt for _, receipt in found if isinstance(receipt, Receipt)]
        published += len(receipts)
        if receipts and not work.dry_run:
            passing("sweep.before_publish")
            work.ctx.publisher.publish_many(
                photos.queue, [receipt.restore_task.encode() for receipt in receipts]
            )
            written = work.apart.each(
                "lost", work.pool, partial(_published, work.ctx), receipts, _ident
            )
            for receipt, _ in written:
                logger().info(
                    "task.republished",
                    task_id=receipt.task_id,
                    upload_id=receipt.upload_id,
                )
    return published


def _published(ctx: Context, receipt: Receipt) -> None:
    """Give the receipt a new age, unless it was written anew meanwhile: for a later
    upload, or without a name.
    """
    with suppress(PermanentError):
        if ctx.uploads.receipt(receipt.upload_id) == receipt:
            ctx.uploads.write_receipt(receipt)


def restore_shared(work: Work, entry: Entry) -> bool:
    """Queue a duplicate whose result was taken back while it was decided on. False: it
    has its end.

    Raises `StorageUnavailable`, `BrokerUnavailable`.
    """
    ctx, upload_id = work.ctx, text(entry.upload)
    try:
        receipt = ctx.uploads.receipt(upload_id)
        if receipt.decision != "duplicate" or ctx.uploads.outcome(receipt):
            return False
    except PermanentError:
        return True  # gone or damaged meanwhile: the next pass sees to it
    work.report.republished += 1
    if not work.dry_run:
        ctx.uploads.write_receipt(receipt.model_copy(update={"decision": "queued"}))
        ctx.publisher.publish(entry.queue, receipt.restore_task.encode())
        logger().info("task.republished", task_id=receipt.task_id, upload_id=upload_id)
    return True


def _ident(receipt: Receipt) -> str:
    return receipt.upload_id


def _still_waiting(
    ctx: Context, claimed: Mapping[str, Seen], upload_id: str
) -> Receipt | None:
    try:
        receipt = ctx.uploads.receipt(upload_id)
        if receipt.decision != "queued" or ctx.uploads.outcome(receipt):
            return None
    except PermanentError:
        return None
    seen = claimed.get(receipt.task_id or "")
    is_begun = seen is not None and not seen.has_message
    return None if is_begun else receipt
