"""Delivery → job: read the receipt, claim the task, fetch and decode the photo."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakSet

from gpu_worker import codec
from gpu_worker.pipeline.context import Context
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.outcome import Outcomes
from gpu_worker.pipeline.preview_region import glimpse
from shared import workflows
from shared.broker.consumer import Delivery
from shared.errors import Code, NotFound, ObjectRefused, OtherRelease, PermanentError
from shared.runtime.failpoints import passing
from shared.runtime.telemetry import logger
from shared.s3.store import ObjectInfo
from shared.uploads import claims
from shared.uploads.documents import Receipt, Record, Source, WorkflowRef
from shared.uploads.events import of_processing, publish_event
from shared.uploads.messages import RestoreTask
from shared.uploads.outcome import Outcome, outcome_of
from shared.workflows import ResolvedWorkflow


@dataclass(frozen=True)
class Later:
    """Not now: look at this delivery again in `seconds`."""

    seconds: float


class Prepare:
    """The first stage. Everything that needs no device happens here, one photo ahead of
    the device.
    """

    def __init__(
        self,
        ctx: Context,
        outcomes: Outcomes,
        wait_for_room: Callable[[Receipt], bool],
        check: Callable[[ResolvedWorkflow], None] = lambda _: None,
    ) -> None:
        """`check` raises `Missing` for a workflow that this worker cannot run."""
        self._ctx = ctx
        self._outcomes = outcomes
        self._wait_for_room = wait_for_room
        self.decoder = codec.Decoder(ctx.settings)
        self._check = check
        self._waited_for: WeakSet[Delivery] = WeakSet()

    def begin(self, delivery: Delivery) -> Job | Later | None:
        """Claim the delivery's task. None: there is nothing to do, the delivery is
        settled or to be given back.
        """
        try:
            task = RestoreTask.decode(delivery.body)
            receipt = self._receipt(task)
        except PermanentError as error:
            delivery.dead(error.code, error.detail)
            logger().error(
                "message.dead",
                queue=delivery.queue,
                code=error.code,
                detail=error.detail,
            )
            return None
        if not self._wait_for_room(receipt):
            return None  # the worker leaves, and the delivery with its connection
        passing("worker.before_claim")
        taken = self._ctx.claims.acquire(
            task.task_id, task.upload_id, delivery.redelivered
        )
        if isinstance(taken, claims.LeaseHeld):
            return self._held(delivery, task, taken)
        if isinstance(taken, claims.AttemptsExhausted):
            self._outcomes.spent(delivery, receipt, taken)
            return None
        passing("worker.after_claim")
        job = Job(delivery, task, receipt, taken, self._ctx.clock.now())
        try:
            return None if self._has_ended(job) else job
        except ObjectRefused as error:  # its record
            self._outcomes.broken(job, error)
            return None

    def _has_ended(self, job: Job) -> bool:
        """Whether there is nothing to do. Asked with the claim in hand: nobody else is
        about to write an end now.
        """
        outcome = self._outcome(job.receipt, job.task.task_id)
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
        reason = uploads.reason_of(receipt.ref)
        outcome = outcome_of(receipt, None, reason)
        # Whatever the record says: a worker that wrote one may be about to delete it.
        if outcome and outcome.is_withdrawn:
            return outcome
        record = uploads.record_if_any(task_id)
        if record and self._is_void(record):
            uploads.delete_results(task_id)
            record = None
        return outcome_of(receipt, record, reason)

    def _is_void(self, record: Record) -> bool:
        """Whether a dead worker wrote it for an upload that had been erased."""
        reason = self._ctx.uploads.reason_of(record.ref)
        return reason is not None and reason.error_code == Code.ERASED

    def load(self, job: Job) -> None:
        """Fetch, verify and decode. Raises `PermanentError` with the photo's fault.

        Before any of it `OtherRelease`, or `Missing`, where another worker may be able
        to do it and this one is not: then the photo still waits, and the log is told
        nothing else.
        """
        job.workflow = _same(job.receipt.workflow)
        self._check(job.workflow)
        fact = of_processing(job.receipt, job.claim.attempt, job.started_at)
        publish_event(self._ctx.publisher, fact, job.receipt)
        data = self._fetch(job.receipt.source)
        passing("worker.after_fetch")
        source = job.receipt.source
        photo = self.decoder.decode(
            data,
            source.width * source.height if source.width and source.height else None,
        )
        asked = job.receipt.preview
        job.photo = glimpse(photo, asked, self._ctx.settings) if asked else photo

    def _held(
        self, delivery: Delivery, task: RestoreTask, held: claims.LeaseHeld
    ) -> Later | None:
        if held.upload_id not in (None, task.upload_id):
            # The same photo under another key: it shares the result, and its own row
            # says so once there is one.
            return Later(min(max(held.due_s, 0.2), 1.0))
        if delivery.redelivered and delivery not in self._waited_for:
            # once: a holder that lives needs nobody to wait behind it
            self._waited_for.add(delivery)
            return Later(max(held.due_s, 0.2))
        logger().info(
            "task.postponed",
            task_id=task.task_id,
            upload_id=task.upload_id,
            delay_s=held.due_s,
        )
        delivery.ack()
        return None

    def _receipt(self, task: RestoreTask) -> Receipt:
        receipt = self._ctx.uploads.receipt(task.upload_id)
        if receipt.task_id != task.task_id or receipt.workflow is None:
            detail = f"{receipt.place()} is not about task {task.task_id}"
            raise PermanentError(Code.BAD_DOCUMENT, detail)
        return receipt

    def _fetch(self, source: Source) -> bytearray:
        """What the receipt says lies there, and not a byte of anything else."""
        known = ObjectInfo(
            source.bucket,
            source.key,
            source.etag,
            source.bytes,
            source.upload_time,
            source.version,
        )
        try:
            data = self._ctx.store.read_same(known)
        except NotFound as error:
            detail = "the upload was deleted before it was restored; upload it again"
            raise PermanentError(Code.SOURCE_MISSING, detail) from error
        except PermanentError as error:
            if error.code != Code.SOURCE_CHANGED:
                raise
            raise _changed() from error
        if hashlib.sha256(data).hexdigest() != source.sha256:
            raise _changed()
        return data


def _changed() -> PermanentError:
    detail = "the upload was overwritten before it was restored; the later upload has a task of its own"
    return PermanentError(Code.SOURCE_CHANGED, detail)


def _same(asked: WorkflowRef | None) -> ResolvedWorkflow:
    assert asked is not None
    try:
        workflow = workflows.resolve(asked.name, asked.params)
    except PermanentError as error:
        ours = error.detail  # whoever decided knew it
    else:
        if workflow.ref.signature == asked.signature:
            return workflow
        ours = (
            f"this worker has version {workflow.ref.version} ({workflow.ref.signature})"
        )
    # A rolling upgrade: the task's identity holds the other workflow, and only a worker
    # that has it may do it.
    raise OtherRelease(
        Code.UNKNOWN_WORKFLOW,
        f"the task wants {asked.name} version {asked.version} ({asked.signature}), and {ours}; run a worker of that "
        "release, or upload the photo again",
    )
