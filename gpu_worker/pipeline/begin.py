"""Delivery → job: read the receipt, claim the task, and see whether it has ended.

The message names a receipt and says nothing else that is relied on: who writes to the
broker cannot have another photo restored, and what a receipt says by now counts, not
what it said when the message was sent. Three requests in series: receipt, claim, and
reason, record and original beside each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from weakref import WeakSet

from gpu_worker.pipeline.beside import Asked
from gpu_worker.pipeline.context import Context
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.outcome import Outcomes
from gpu_worker.pipeline.prepare import fetch
from shared.broker.consumer import Delivery
from shared.errors import Code, ObjectRefused, PermanentError
from shared.runtime.failpoints import passing
from shared.runtime.telemetry import logger
from shared.uploads.claims import AttemptsExhausted, LeaseHeld
from shared.uploads.documents import Receipt, Record
from shared.uploads.messages import RestoreTask
from shared.uploads.outcome import Outcome, outcome_of

SHORTEST_WAIT_S = 0.2
TWIN_WAIT_S = 1.0
"""Longest pause between two looks at a task that another upload of the same photo
holds.
"""


@dataclass(frozen=True)
class Later:
    """Not now: look at this delivery again in `seconds`."""

    seconds: float


class Begin:
    """Claims tasks, ahead of the device. `wait_for_room` blocks until the photo may be
    in flight. False: the worker leaves; `Later`: others go first.
    """

    def __init__(
        self,
        ctx: Context,
        outcomes: Outcomes,
        wait_for_room: Callable[[Receipt], bool | Later],
    ) -> None:
        self._ctx = ctx
        self._outcomes = outcomes
        self._wait_for_room = wait_for_room
        self._waited_for: WeakSet[Delivery] = WeakSet()

    def __call__(self, delivery: Delivery) -> Job | Later | None:
        """Claim the delivery's task. None: there is nothing to do, and the delivery is
        settled, or given back as the worker leaves.
        """
        try:
            task = RestoreTask.decode(delivery.body)
            receipt = self._receipt(task)
        except PermanentError as error:
            _dead_letter(delivery, error)
            return None
        room = self._wait_for_room(receipt)
        if isinstance(room, Later):
            return room
        if not room:
            return None
        passing("worker.before_claim")
        asked_s = self._ctx.clock.monotonic()
        claim = self._ctx.claims.acquire(
            task.task_id, task.upload_id, delivery.redelivered
        )
        if isinstance(claim, LeaseHeld):
            return self._postpone(delivery, task, claim)
        if isinstance(claim, AttemptsExhausted):
            self._outcomes.exhausted(delivery, receipt, claim)
            return None
        passing("worker.after_claim")
        job = Job(delivery, task, receipt, claim, self._ctx.clock.now())
        job.renewed_s = asked_s
        # Beside the look whether it is over, which it almost never is.
        job.original = Asked(partial(fetch, self._ctx.store, receipt.source))
        return None if self._is_over(job) else job

    def _receipt(self, task: RestoreTask) -> Receipt:
        receipt = self._ctx.uploads.receipt(task.upload_id)
        if receipt.task_id != task.task_id or receipt.workflow is None:
            detail = f"{receipt.place()} is not about task {task.task_id}"
            raise PermanentError(Code.BAD_DOCUMENT, detail)
        return receipt

    def _postpone(
        self, delivery: Delivery, task: RestoreTask, held: LeaseHeld
    ) -> Later | None:
        wait_s = max(held.due_s, SHORTEST_WAIT_S)
        if held.upload_id not in (None, task.upload_id):
            # The same photo under another key. It shares the result, and the audit log
            # says so once there is one.
            return Later(min(wait_s, TWIN_WAIT_S))
        if delivery.redelivered and delivery not in self._waited_for:
            # Only once: a holder that lives needs no worker that waits behind it.
            self._waited_for.add(delivery)
            return Later(wait_s)
        logger().info(
            "task.postponed",
            task_id=task.task_id,
            upload_id=task.upload_id,
            delay_s=held.due_s,
        )
        delivery.ack()
        return None

    def _is_over(self, job: Job) -> bool:
        """Whether there is nothing to do. This is decided under the claim, so no other
        worker is about to write an end.
        """
        try:
            outcome = self._outcome(job.receipt, job.task_id)
        except ObjectRefused as error:  # the record cannot be read
            self._outcomes.attempt_failed(job, error)
            return True
        if outcome is None:
            return False
        if outcome.is_withdrawn:
            self._outcomes.withdrawn(job)
        elif outcome.record:
            self._outcomes.already_done(job, outcome.record)
        elif outcome.reason:
            self._outcomes.already_failed(job, outcome.reason)
        return True

    def _outcome(self, receipt: Receipt, task_id: str) -> Outcome | None:
        uploads = self._ctx.uploads
        asked = Asked(partial(uploads.record_if_any, task_id))
        reason = uploads.reason_of(receipt.ref)
        outcome = outcome_of(receipt, None, reason)
        # Whatever the record says: a worker that wrote one may be about to delete it.
        if outcome and outcome.is_withdrawn:
            return outcome
        record = asked.answer()
        if record and self._is_void(record):
            uploads.delete_results(task_id)
            record = None
        return outcome_of(receipt, record, reason)

    def _is_void(self, record: Record) -> bool:
        """Whether a dead worker wrote it for an upload that had been erased."""
        reason = self._ctx.uploads.reason_of(record.ref)
        return reason is not None and reason.error_code == Code.ERASED


def _dead_letter(delivery: Delivery, error: PermanentError) -> None:
    delivery.dead(error.code, error.detail)
    logger().error(
        "message.dead",
        queue=delivery.queue,
        code=error.code,
        detail=error.detail,
        **delivery.ids(),
    )
