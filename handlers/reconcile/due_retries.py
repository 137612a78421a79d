"""Attempts that are due: a claim whose worker died, or whose wait after a failure is
over, has no message any more.

Finds: claims that are due, by one listing of the few tasks in work; a claim is read
only when it has changed. Does: publishes the task again, and notes that in the claim.
Safe to repeat: a second message finds the claim held, or the upload at its end. Workers
acknowledge a failed attempt at once and leave its claim, so this is what brings the
next attempt about.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

from handlers.context import Context
from handlers.reconcile.isolation import Isolation, ident_of
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
from shared.uploads.documents import Receipt

T = TypeVar("T")


@dataclass(frozen=True)
class SeenClaim:
    """The latest claim of a task; its next attempt is due in `due_s` seconds."""

    claim: Attempt[ClaimNote]
    due_s: float

    @property
    def has_message(self) -> bool:
        """Whether the next attempt was published. Before that, the claim alone brings
        it about.
        """
        return self.claim.note.state == "requeued"

    @property
    def is_due(self) -> bool:
        return not self.has_message and self.due_s <= 0


class Backoff(NamedTuple):
    """How often in a row a step failed, and until when it is not tried again."""

    failures: int
    until_s: float


class SharedState:
    """What the loops of a process share; `lock` goes to the one that lists the claims.

    `backoffs` are by stage and task: the store may refuse, or hang on, a single object.
    """

    def __init__(self, ctx: Context) -> None:
        self.lock = threading.Lock()
        self.isolation = Isolation(ctx)
        self.read: dict[str, Attempt[ClaimNote]] = {}
        self.backoffs: dict[tuple[str, str], Backoff] = {}


class DueRetries:
    """Finds and publishes due attempts for one loop of a process.

    Its `pulse` rests while it waits for the loop `beside` it, so that an attempt is
    published by one loop only.
    """

    def __init__(
        self,
        ctx: Context,
        pulse: Pulse | None = None,
        beside: DueRetries | None = None,
    ) -> None:
        self._ctx = ctx
        self._pulse = pulse or Pulse()
        self._shared: SharedState = beside._shared if beside else SharedState(ctx)
        bucket = ctx.settings.bucket_results
        self._log = claims.claim_log(ctx.store, bucket, self._shared.read)
        self._damaged: list[ObjectInfo] = []
        self._policy = RetryPolicy(ctx.settings.retry_base_s, ctx.settings.retry_cap_s)

    def latest_claims(self) -> dict[str, SeenClaim]:
        """Return the latest claim of every task that has one, by task id.

        Raises `StorageUnavailable`.
        """
        with self._turn():
            return self._latest_claims()

    def publish_due(self) -> int:
        """Publish every attempt that is due; return their number.

        Raises `StorageUnavailable` and `BrokerUnavailable`.
        """
        published = 0
        with self._turn():
            for task_id, seen in self._latest_claims().items():
                if seen.is_due:
                    publish = partial(self._publish, task_id, seen)
                    published += bool(self._run("calls", task_id, publish))
            for info in self._damaged:
                delete = partial(self._delete_damaged, info)
                self._run("damage", ident_of(info), delete)
        return published

    def take_failed(self) -> int:
        """Return how many claims could not be read or published since the last call."""
        return self._shared.isolation.take_failed()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        self._pulse.rest()  # the loop that has the lock shows the signs of life
        with self._shared.lock:
            self._pulse.beat()
            yield

    def _latest_claims(self) -> dict[str, SeenClaim]:
        self._damaged.clear()
        newest = self._log.newest()
        listed = {task_id: info for task_id, info in newest.items() if packed(task_id)}
        self._forget_backoffs(listed.keys())
        found = {}
        for task_id, info in listed.items():
            seen = self._run("claims", task_id, partial(self._read, info))
            if seen:
                found[task_id] = seen
        return found

    def _forget_backoffs(self, task_ids: Container[str]) -> None:
        backoffs = self._shared.backoffs
        for place in [place for place in backoffs if place[1] not in task_ids]:
            del backoffs[place]

    def _run(self, stage: str, task_id: str, action: Callable[[], T]) -> T | None:
        """Like `Isolation.run`, but an action that failed is left out for a while, and
        for longer each time.
        """
        isolation, backoffs = self._shared.isolation, self._shared.backoffs
        place = stage, task_id
        backoff = backoffs.get(place, Backoff(0, 0.0))
        if backoff.failures and self._ctx.clock.monotonic() < backoff.until_s:
            return None
        failed_before = isolation.failed
        result = isolation.run(stage, task_id, action)
        if isolation.failed > failed_before:
            failures = backoff.failures + 1
            until_s = self._ctx.clock.monotonic() + self._policy.wait_s(failures)
            backoffs[place] = Backoff(failures, until_s)
        else:
            backoffs.pop(place, None)
        return result

    def _delete_damaged(self, info: ObjectInfo) -> None:
        # A younger one may be in the middle of being written.
        if info.age_s > self._ctx.settings.lease_s:
            self._ctx.store.delete(info.bucket, info.key)
            task_id = ident_of(info)
            logger().error(
                "document.damaged", kind="claim", repaired=True, task_id=task_id
            )

    def _read(self, info: ObjectInfo) -> SeenClaim | None:
        try:
            claim = self._log.read(info)
        except PermanentError:
            # No worker can read it either, so none would ever begin the task.
            self._damaged.append(info)
            return None
        if claim is None:
            return None
        return SeenClaim(claim, claim.due_s(self._ctx.settings.lease_s))

    def _publish(self, task_id: str, seen: SeenClaim) -> bool:
        uploads = self._ctx.uploads
        try:
            receipt = uploads.receipt(seen.claim.note.upload_id)
            has_ended = uploads.seems_ended(receipt)
        except NotFound:
            return self._drop(task_id, seen)
        except PermanentError:
            return False  # the stage of the receipts repairs it
        if receipt.task_id != task_id or has_ended:
            return self._drop(task_id, seen)
        passing("sweep.before_publish")
        self._ctx.publisher.publish(_queue_of(receipt), receipt.restore_task.encode())
        # Published before it is noted: a crash between the two costs one message too
        # many, never one too few.
        claims.requeue(self._log, seen.claim)
        logger().info(
            "task.republished",
            task_id=task_id,
            upload_id=receipt.upload_id,
            attempt=seen.claim.number + 1,
        )
        return True

    def _drop(self, task_id: str, seen: SeenClaim) -> bool:
        """Delete a claim whose own upload has ended, or asks for another task by now:
        its worker died just then.

        It would hide the other uploads of the task, which look as if their turn came
        after its own.
        """
        store, bucket = self._ctx.store, self._ctx.settings.bucket_results
        listed = [info.key for info in store.list(bucket, keys.claims(task_id))]
        # Otherwise a worker has just begun the next attempt.
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


def _queue_of(receipt: Receipt) -> str:
    is_preview = receipt.preview is not None
    return restore_queue(receipt.priority, receipt.lane, is_preview)
