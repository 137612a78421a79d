"""Waiting photos without a message, found by counting.

Finds: queues with fewer messages than waiting photos. Does: publishes the oldest of
these photos again. Safe to repeat: publishing makes the numbers equal, so a second pass
finds nothing to do, and a backlog of any length is never doubled.

A photo that waits in a long queue looks exactly like one whose message was lost: both
have a receipt and no end. But every waiting photo has at least one message, so where
more photos wait than there are messages, the difference is lost; and queues are emptied
oldest first, so the oldest are the lost ones. A photo that a worker has begun has a
claim instead; it and its message are left out of the count. The receipt of a photo that
was published again is written again, as it was: its age by the store's clock is the age
of its newest message, so the next guess falls on another one. A wrong guess costs a
look at the record.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter

from handlers import erasure
from handlers.context import Context
from handlers.reconcile.due_retries import SeenClaim
from handlers.reconcile.pass_context import PassContext, chunks
from handlers.reconcile.tables import Entry, micros, text
from shared.broker import topology
from shared.broker.depth import Backlog
from shared.errors import PermanentError
from shared.runtime.failpoints import passing
from shared.runtime.telemetry import logger
from shared.uploads.documents import Receipt

MOST = 10_000
"""Photos published again in one pass. It bounds the memory, and the damage that a wrong
count could do.
"""


@dataclass
class WaitingPhotos:
    """The photos that wait in one queue: how many, and the oldest of those that are old
    enough to be called lost. `begun`: photos in work, whose messages are in hand.
    """

    queue: str
    count: int = 0
    begun: int = 0
    _oldest: list[tuple[int, bytes]] = field(default_factory=list)

    def add(self, entry: Entry, old: bool) -> None:
        """Count a photo that waits."""
        self.count += 1
        if not old:
            return
        # The heap's smallest is the youngest, and goes first.
        heapq.heappush(self._oldest, (-micros(entry.written), entry.upload))
        if len(self._oldest) > MOST:
            heapq.heappop(self._oldest)

    def missing(self, messages: Backlog) -> int:
        """Return how many of the photos have no message, where these are there."""
        in_hand_of_waiting = max(0, messages.in_hand - self.begun)
        return max(0, self.count - messages.ready - in_hand_of_waiting)

    def oldest(self) -> list[str]:
        """Return upload ids, the oldest first."""
        return [text(upload) for _, upload in sorted(self._oldest, reverse=True)]


def waiting_by_queue() -> dict[str, WaitingPhotos]:
    """Return empty counts of all queues."""
    return {queue: WaitingPhotos(queue) for queue in topology.COUNTED}


def publish_lost(
    sweep: PassContext,
    photos: WaitingPhotos,
    messages: Backlog,
    claimed: Mapping[str, SeenClaim],
) -> None:
    """Publish again what was lost of one queue, which has these messages.

    Raises `StorageUnavailable` and `BrokerUnavailable`.
    """
    missing = photos.missing(messages)
    # Photos that ended, or were begun, since they were listed are no longer without a
    # message: they count as found.
    for upload_ids in chunks(photos.oldest()[:missing]):
        receipts = _still_waiting(sweep, claimed, upload_ids)
        sweep.report.republished += len(receipts)
        if receipts and not sweep.dry_run:
            _publish(sweep, photos.queue, receipts)


def restore_shared(sweep: PassContext, entry: Entry) -> bool:
    """Queue a duplicate whose result was taken back while it was decided on. False: it
    has its end.

    Raises `StorageUnavailable` and `BrokerUnavailable`.
    """
    ctx, upload_id = sweep.ctx, text(entry.upload)
    try:
        receipt = ctx.uploads.receipt(upload_id)
        if receipt.decision != "duplicate" or ctx.uploads.seems_ended(receipt):
            return False
    except PermanentError:
        return True  # gone or damaged meanwhile: the next pass sees to it
    sweep.report.republished += 1
    if not sweep.dry_run:
        ctx.uploads.write_receipt(receipt.model_copy(update={"decision": "queued"}))
        ctx.publisher.publish(entry.queue, receipt.restore_task.encode())
        _log_republished(receipt)
    return True


def _still_waiting(
    sweep: PassContext,
    claimed: Mapping[str, SeenClaim],
    upload_ids: list[str],
) -> list[Receipt]:
    read = partial(_waiting_receipt, sweep.ctx, claimed)
    found = sweep.isolation.run_each("lost", sweep.executor, read, upload_ids, str)
    return [receipt for _, receipt in found if isinstance(receipt, Receipt)]


def _waiting_receipt(
    ctx: Context,
    claimed: Mapping[str, SeenClaim],
    upload_id: str,
) -> Receipt | None:
    try:
        receipt = ctx.uploads.receipt(upload_id)
        if receipt.decision != "queued" or ctx.uploads.seems_ended(receipt):
            return None
        if _was_photo_erased(ctx, receipt):
            # It was started in the very moment of the erasure, and broke off.
            erasure.erase(ctx, receipt.task_id or "", [receipt])
            return None
    except PermanentError:
        return None
    seen = claimed.get(receipt.task_id or "")
    is_begun = seen is not None and not seen.has_message
    return None if is_begun else receipt


def _was_photo_erased(ctx: Context, receipt: Receipt) -> bool:
    if receipt.run_of is None:
        return False
    photo = ctx.uploads.readable_receipt(receipt.run_of)
    return photo is not None and ctx.uploads.is_erased(photo)


def _publish(sweep: PassContext, queue: str, receipts: list[Receipt]) -> None:
    passing("sweep.before_publish")
    tasks = [receipt.restore_task.encode() for receipt in receipts]
    sweep.publisher.publish_many(queue, tasks)
    renewed = sweep.isolation.run_each(
        "lost",
        sweep.executor,
        partial(_renew_age, sweep.ctx),
        receipts,
        attrgetter("upload_id"),
    )
    for receipt, _ in renewed:
        _log_republished(receipt)


def _renew_age(ctx: Context, receipt: Receipt) -> None:
    """Write the receipt again, unless it changed meanwhile: by a later upload, or by an
    erasure.
    """
    with suppress(PermanentError):
        if ctx.uploads.receipt(receipt.upload_id) == receipt:
            ctx.uploads.write_receipt(receipt)


def _log_republished(receipt: Receipt) -> None:
    logger().info(
        "task.republished", task_id=receipt.task_id, upload_id=receipt.upload_id
    )
