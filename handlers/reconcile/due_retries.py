"""Tries that are due: a claim whose worker died, or whose wait after a failure is over,
has no message any more.

Workers acknowledge a failed try at once and leave its claim behind, so this look is
what brings the next try about. It costs one listing of the few tasks in work, and reads
a claim only when it has changed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from handlers.context import Context
from handlers.reconcile.isolation import Apart, ident_of
from handlers.reconcile.tables import packed
from shared.broker.topology import restore_queue
from shared.errors import NotFound, PermanentError
from shared.runtime.failpoints import passing
from shared.runtime.heartbeat import Pulse
from shared.runtime.retry import RetryPolicy
from shared.runtime.telemetry import logger
from shared.s3.store import ObjectInfo
from shared.uploads import claims, keys
from shared.uploads.attempts import Attempt
from shared.uploads.claims import ClaimNote

T = TypeVar("T")


@dataclass(frozen=True)
class Seen:
    """The latest claim of a task; its next try is due in `due_s` seconds."""

    claim: Attempt[ClaimNote]
    due_s: float

    @property
    def has_message(self) -> bool:
        """The next try was published. Before that, the claim alone brings it about."""
        return self.claim.note.state == "requeued"

    @property
    def due(self) -> bool:
        return not self.has_message and self.due_s <= 0


class Known:
    """The claims that were read, shared by the loops of a process; `lock` goes to the
    one that looks.

    `rests`, by stage and task: how often in a row a step failed, and until when it is
    let be.
    """

    def __init__(self, ctx: Context) -> None:
        self.lock = threading.Lock()
        self.apart = Apart(ctx)
        self.read: dict[str, Attempt[ClaimNote]] = {}
        self.rests: dict[tuple[str, str], tuple[int, float]] = {}


class Calls:
    """Of one loop, whose `pulse` rests while it waits for the loop `beside` it: a try
    is called by one look only.
    """

    def __init__(
        self, ctx: Context, pulse: Pulse | None = None, beside: Calls | None = None
    ) -> None:
        self._ctx, self._pulse = ctx, pulse or Pulse()
        self._known: Known = beside._known if beside else Known(ctx)
        bucket = ctx.settings.bucket_results
        self._log = claims.claim_log(ctx.store, bucket, self._known.read)
        self._damaged: list[ObjectInfo] = []
        self._policy = RetryPolicy(
            ctx.settings.retry_base_s, ctx.settings.retry_cap_s, 1_000_000
        )

    def look(self) -> dict[str, Seen]:
        """The latest claim of every task that has one, by task id. Raises
        `StorageUnavailable`.
        """
        with self._turn():
            return self._look()

    def call_due(self) -> int:
        """Publish every try that is due; their number. Raises `StorageUnavailable`,
        `BrokerUnavailable`.
        """
        with self._turn():
            due = [
                (task_id, seen) for task_id, seen in self._look().items() if seen.due
            ]
            called = [
                self._step("calls", task_id, partial(self._call, task_id, seen))
                for task_id, seen in due
            ]
            for info in self._damaged:
                self._step(
                    "damage", ident_of(info), partial(self._remove_damaged, info)
                )
            return sum(map(bool, called))

    def failed(self) -> int:
        """Claims that could not be looked at or called since this was last asked."""
        return self._known.apart.taken()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        self._pulse.rest()  # whoever has the turn gives the signs of life
        with self._known.lock:
            self._pulse.beat()
            yield

    def _look(self) -> dict[str, Seen]:
        self._damaged.clear()
        newest = self._log.newest()
        latest = {task_id: info for task_id, info in newest.items() if packed(task_id)}
        known = self._known
        known.rests = {
            place: rest for place, rest in known.rests.items() if place[1] in latest
        }
        looked = {
            task_id: self._step("claims", task_id, partial(self._see, info))
            for task_id, info in latest.items()
        }
        return {task_id: seen for task_id, seen in looked.items() if seen}

    def _step(self, stage: str, task_id: str, step: Callable[[], T]) -> T | None:
        """As `Apart.step`. One that failed is left alone for a while, which grows: the
        store may be silent about it.
        """
        known, now_s = self._known, self._ctx.clock.monotonic()
        in_a_row, until_s = known.rests.pop((stage, task_id), (0, now_s))
        if now_s < until_s:
            known.rests[stage, task_id] = in_a_row, until_s
            return None
        before = known.apart.failed
        result = known.apart.step(stage, task_id, step)
        if known.apart.failed > before:
            delay_s = self._policy.delay_s(in_a_row + 1) or self._policy.cap_s
            known.rests[stage, task_id] = (
                in_a_row + 1,
                self._ctx.clock.monotonic() + delay_s,
            )
        return result

    def _remove_damaged(self, info: ObjectInfo) -> None:
        # else it may be in the middle of being written
        if info.age_s > self._ctx.settings.lease_s:
            self._ctx.store.delete(info.bucket, info.key)
            logger().error("document.damaged", kind="claim", repaired=True)

    def _see(self, info: ObjectInfo) -> Seen | None:
        try:
            claim = self._log.read(info)
        except PermanentError:
            # No worker can read it either, so none would ever begin the task.
            self._damaged.append(info)
            return None
        if claim is None:
            return None
        return Seen(claim, claim.due_s(self._ctx.settings.lease_s))

    def _call(self, task_id: str, seen: Seen) -> bool:
        ctx = self._ctx
        try:
            receipt = ctx.uploads.receipt(seen.claim.note.upload_id)
            outcome = ctx.uploads.outcome(receipt)
        except NotFound:
            return self._drop(task_id, seen)
        except PermanentError:
            return False  # the pass over all documents repairs it
        if receipt.task_id != task_id or outcome:
            return self._drop(task_id, seen)
        passing("sweep.before_publish")
        ctx.publisher.publish(
            restore_queue(receipt.priority, receipt.lane, receipt.preview is not None),
            receipt.restore_task.encode(),
        )
        # Published before it is marked: a crash between the two costs one message too
        # many, never one too few.
        claims.requeue(self._log, seen.claim)
        logger().info(
            "task.republished",
            task_id=task_id,
            upload_id=receipt.upload_id,
            attempt=seen.claim.number + 1,
        )
        return True

    def _drop(self, task_id: str, seen: Seen) -> bool:
        """Forget a claim whose own upload has ended or asks for something else by now:
        whoever left it died just then.

        It would shield the other uploads of the task, which look as if they were called
        in its turn, and are not.
        """
        store, bucket = self._ctx.store, self._ctx.settings.bucket_results
        listed = [info.key for info in store.list(bucket, keys.claims(task_id))]
        # else a worker has just begun the next attempt
        if listed and listed[-1] == seen.claim.info.key:
            for key in reversed(listed):
                store.delete(bucket, key)
            logger().info(
                "claim.dropped",
                task_id=task_id,
                upload_id=seen.claim.note.upload_id,
                attempt=seen.claim.number,
            )
        return False
