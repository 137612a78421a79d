"""How a job ends. Every end is written to the bucket first, then published for the
audit log, then settled at the broker.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from gpu_worker.pipeline import metrics
from gpu_worker.pipeline.context import Context
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.quarantine import quarantine
from shared.broker.consumer import Delivery
from shared.errors import (
    Code,
    DarkroomError,
    Missing,
    ObjectRefused,
    ObjectUnreadable,
    OtherRelease,
    PermanentError,
)
from shared.runtime.failpoints import passing
from shared.runtime.retry import RetryPolicy
from shared.runtime.telemetry import logger
from shared.uploads import events, keys
from shared.uploads.claims import AttemptsExhausted
from shared.uploads.documents import Reason, Receipt, Record
from shared.uploads.messages import LogEvent

OTHER_WORKER = timedelta(days=1)
"""How long a photo waits for a worker that can do it. Afterwards an attempt of a worker
that cannot do it counts.
"""
MISSING_PART = timedelta(days=30)
"""How long it waits for a model or a package, with the setting `unavailable=wait`."""
WAIT_CAP_S = 300.0
"""Longest pause between two looks at a photo that waits so long, at least."""


class Outcomes:
    """The only place of the worker that settles deliveries and gives claims up."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._claims = ctx.claims
        self._clock = ctx.clock
        self._settings = ctx.settings
        self._uploads = ctx.uploads
        base_s, cap_s = ctx.settings.retry_base_s, ctx.settings.retry_cap_s
        self._retries = RetryPolicy(base_s, cap_s, ctx.settings.max_attempts)
        self._waits = RetryPolicy(base_s, max(cap_s, WAIT_CAP_S))

    def restored(self, job: Job, record: Record) -> None:
        """The record is stored: the photo is done."""
        event = events.of_record(record, self._settings.bucket_results)
        self._publish(event, job.receipt)
        self._settle(job)
        _count("success", job.receipt)
        metrics.FAILURES_IN_A_ROW.set(0)
        for step in record.steps:
            metrics.STEP_SECONDS.labels(step=step.step).observe(step.seconds)
        if record.peak_device_memory_bytes is not None:
            metrics.DEVICE_PEAK.observe(record.peak_device_memory_bytes)
        seconds_by_step = {step.step: round(step.seconds, 3) for step in record.steps}
        logger().info(
            "task.restored",
            task_id=record.task_id,
            upload_id=record.upload_id,
            workflow=record.workflow.name,
            engine=record.engine,
            width=record.width,
            height=record.height,
            attempts=record.attempts,
            seconds=round(record.duration_seconds, 3),
            queue_s=round(record.queue_seconds, 3),
            steps=seconds_by_step,
            rss_bytes=record.peak_memory_bytes,
            device_bytes=record.peak_device_memory_bytes,
        )

    def already_done(self, job: Job, record: Record) -> None:
        """Another attempt, or another upload of the same task, was first, and its
        record stands.
        """
        receipt = job.receipt
        bucket = self._settings.bucket_results
        if record.ref == receipt.ref:
            self._publish(events.of_record(record, bucket), receipt)
        elif self._uploads.reason_of(receipt.ref) is None:
            event = events.of_duplicate(receipt, record.finished_at, bucket)
            self._publish(event, receipt)
        # Otherwise the upload failed before the other one was restored.
        self._settle(job)
        _log_duplicate(job)

    def already_failed(self, job: Job, reason: Reason) -> None:
        """The photo failed before, and this is another message about it. It is not
        tried all over again.
        """
        is_first_look = job.claim.attempt == 1 and not job.delivery.redelivered
        if not is_first_look:
            # The worker that wrote the reason may have died before the rest of it.
            self._publish(events.of_reason(reason), job.receipt)
            job.delivery.dead(reason.error_code, reason.error_detail)
        self._settle(job)
        _log_duplicate(job)

    def withdrawn(self, job: Job) -> None:
        """The owner took the photo back. Cancellation wrote the reason and published
        it: nothing is left to report.
        """
        self._settle(job)
        _log_dropped(job.receipt)

    def attempt_failed(self, job: Job, error: Exception) -> None:
        """An attempt ended with an error: the photo is tried again later, or fails."""
        self._end(job)
        if job.withdrawn or self._uploads.is_withdrawn(job.receipt):
            self.withdrawn(job)
        elif self._is_left_to_others(job, error):
            wait_s = self._waits.wait_s(job.claim.attempt)
            self._retry(job, error, wait_s, counts=False)
        elif isinstance(error, PermanentError):
            self._fail(job, error.code, error.detail)
        else:
            self._retry_or_fail(job, error)

    def exhausted(
        self, delivery: Delivery, receipt: Receipt, exhausted: AttemptsExhausted
    ) -> None:
        """The task had used up its attempts before this one could begin."""
        if exhausted.drafted:
            self._forget_draft(receipt.task_id or "")
        try:
            self._end_failed(delivery, receipt, exhausted)
        except (PermanentError, ObjectRefused):
            # The end cannot be written. The sweep publishes the task again; no worker
            # waits for it here.
            logger().exception(
                "task.endless", task_id=receipt.task_id, upload_id=receipt.upload_id
            )
            delivery.ack()

    def release(self, job: Job) -> None:
        """The attempt was not made, as the worker leaves or lacks room. The delivery is
        not settled.
        """
        self._end(job)
        self._claims.release(job.claim)

    def _is_left_to_others(self, job: Job, error: Exception) -> bool:
        """Whether the photo waits for a worker that can do it, as if it had not been
        tried by this one.
        """
        if not isinstance(error, Missing | OtherRelease):
            return False
        limit = OTHER_WORKER
        if isinstance(error, Missing) and self._settings.unavailable == "wait":
            limit = MISSING_PART
        waited = self._clock.now() - job.task.queued_at
        return waited < limit

    def _retry_or_fail(self, job: Job, error: Exception) -> None:
        made = job.claim.counted_attempts
        wait_s = self._retries.delay_s(made)
        if wait_s is not None:
            self._retry(job, error, wait_s)
            return
        code = Code.ATTEMPTS_EXHAUSTED
        if isinstance(error, ObjectUnreadable):
            code = error.code
        detail = f"{made} attempts failed; the last one: {_sentence(error)}"
        self._fail(job, code, detail)

    def _retry(
        self, job: Job, error: Exception, wait_s: float, counts: bool = True
    ) -> None:
        self._claims.fail(job.claim, error, wait_s, counts)
        # The claim says when the next attempt is due; the sweep publishes it then.
        job.delivery.ack()
        _count("retried", job.receipt, _code(error))
        logger().warning(
            "task.retried",
            task_id=job.task_id,
            upload_id=job.upload_id,
            attempt=job.claim.attempt,
            delay_s=round(wait_s, 1),
            detail=_sentence(error),
            exc_info=not isinstance(error, DarkroomError),
        )

    def _fail(self, job: Job, code: Code, detail: str) -> None:
        last = AttemptsExhausted(job.claim.attempt, code, detail)
        self._end_failed(job.delivery, job.receipt, last, self._effort(job))

    def _end_failed(
        self,
        delivery: Delivery,
        receipt: Receipt,
        last: AttemptsExhausted,
        effort: dict[str, Any] | None = None,
    ) -> None:
        task_id = receipt.task_id or ""
        reason = self._reason(receipt, last).model_copy(update=effort or {})
        end = quarantine(self._ctx, reason, with_copy=receipt.preview is None)
        if end is None:
            delivery.ack()
            self._clear_claims(task_id, last.attempts)
            _log_dropped(receipt)
            return
        self._publish(events.of_reason(end), receipt)
        delivery.dead(end.error_code, end.error_detail)
        self._clear_claims(task_id, last.attempts)
        _count("failed", receipt, end.error_code)
        metrics.FAILURES_IN_A_ROW.inc()
        logger().error(
            "task.failed",
            task_id=task_id,
            upload_id=receipt.upload_id,
            code=last.code,
            detail=last.detail,
            attempts=last.attempts,
        )

    def _effort(self, job: Job) -> dict[str, Any]:
        """What the attempt that just failed took: the fields of a reason that say it."""
        since_queued = self._clock.now() - job.task.queued_at
        waited_s = since_queued.total_seconds() - job.busy_s
        return {
            **_on_device(job),
            "concurrency": job.concurrency,
            "duration_seconds": round(job.busy_s, 3),
            "queue_seconds": round(max(0.0, waited_s), 3),
        }

    def _reason(self, receipt: Receipt, last: AttemptsExhausted) -> Reason:
        return Reason(
            upload_id=receipt.upload_id,
            task_id=receipt.task_id,
            status="failed",
            error_code=last.code,
            error_detail=last.detail,
            source=receipt.source,
            attempts=last.attempts,
            retries=receipt.retries,
            at=self._clock.now(),
        )

    def _publish(self, event: LogEvent, receipt: Receipt) -> None:
        events.publish_event(self._ctx.publisher, event, receipt)

    def _end(self, job: Job) -> None:
        job.end()
        if job.is_drafted or job.claim.note.draft is not None:
            self._forget_draft(job.task_id)

    def _forget_draft(self, task_id: str) -> None:
        """Delete the picture of what was done so far. The end stands even if that
        fails: it is hidden then, and goes with the task's results.
        """
        bucket, key = self._settings.bucket_results, keys.draft(task_id)
        try:
            self._ctx.store.delete(bucket, key)
        except (PermanentError, ObjectRefused) as error:
            logger().warning("draft.failed", task_id=task_id, error=error.code)

    def _settle(self, job: Job) -> None:
        self._end(job)
        passing("worker.before_ack")
        job.delivery.ack()
        self._clear_claims(job.task_id, job.claim.attempt)

    def _clear_claims(self, task_id: str, attempts: int) -> None:
        """Delete the claims of a task that ended. The end stands even if that fails:
        the sweep deletes claims without a waiting upload.
        """
        try:
            self._claims.clear(task_id, attempts)
        except (PermanentError, ObjectRefused) as error:
            logger().warning("claim.left", task_id=task_id, detail=error.detail)


def _on_device(job: Job) -> dict[str, Any]:
    """Of a photo that came to the device: where, and how much memory it took."""
    if job.spent is not None:
        return asdict(job.spent)
    if job.restored is None:
        return {}
    restored = job.restored
    return {
        "engine": restored.engine,
        "device": restored.device,
        "tile": restored.tile or None,
        "peak_memory_bytes": max(restored.peak_memory_bytes, job.peak_memory_bytes),
        "peak_device_memory_bytes": restored.peak_device_memory_bytes,
    }


def _log_duplicate(job: Job) -> None:
    _count("duplicate", job.receipt)
    logger().info("task.duplicate", task_id=job.task_id, upload_id=job.upload_id)


def _log_dropped(receipt: Receipt) -> None:
    _count("withdrawn", receipt)
    logger().info("task.dropped", task_id=receipt.task_id, upload_id=receipt.upload_id)


def _count(outcome: str, receipt: Receipt, error: str = "") -> None:
    workflow = receipt.workflow.name if receipt.workflow else ""
    metrics.PHOTOS.labels(outcome=outcome, workflow=workflow, error=error).inc()


def _code(error: Exception) -> str:
    return error.code if isinstance(error, DarkroomError) else Code.INTERNAL


def _sentence(error: Exception) -> str:
    if isinstance(error, DarkroomError):
        return str(error)
    return f"{type(error).__name__}: {error}"
