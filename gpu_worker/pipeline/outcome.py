"""How a job ends. Each ending is written to the bucket first, then told to the audit log,
then settled at the broker.
"""

from __future__ import annotations

from datetime import timedelta

from gpu_worker.pipeline import metrics
from gpu_worker.pipeline.context import Context
from gpu_worker.pipeline.job import Job
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
from shared.uploads.outcome import WITHDRAWN
from shared.uploads.quarantine import keep_copy

OTHER_WORKER = timedelta(days=1)
"""So long a photo waits for a worker that can do it; afterwards a try of one that
cannot counts.
"""
TOLD_TO_WAIT = timedelta(days=30)
"""So long it waits for a model or a package where `unavailable` says that it shall."""
REFUSED_CAP_S = 300.0
"""Longest wait after a refusal, at least: a photo may be refused for weeks."""

NOT_THERE = frozenset(
    {Code.SOURCE_CHANGED, Code.SOURCE_MISSING, Code.SOURCE_UNREADABLE}
)
"""What lies at the photo's key, if anything does, is another photo, or nothing that the
store could copy.
"""


class Outcomes:
    """The only place of the worker that settles deliveries and gives claims up."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        limits = ctx.settings
        self._policy = RetryPolicy(
            limits.retry_base_s, limits.retry_cap_s, limits.max_attempts
        )
        self._patience = RetryPolicy(
            limits.retry_base_s, max(limits.retry_cap_s, REFUSED_CAP_S), 1_000_000
        )

    def restored(self, job: Job, record: Record) -> None:
        """The record is stored: the photo is done."""
        self._tell(
            events.of_record(record, self._ctx.settings.bucket_results), job.receipt
        )
        self._settle(job)
        metrics.PHOTOS.labels(outcome="success").inc()
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
            steps={s.step: round(s.seconds, 3) for s in record.steps},
            rss_bytes=record.peak_memory_bytes,
        )

    def already_done(self, job: Job, record: Record) -> None:
        """Another attempt, or another upload of the same task, was first; its record
        stands.
        """
        bucket = self._ctx.settings.bucket_results
        if record.ref == job.receipt.ref:
            self._tell(events.of_record(record, bucket), job.receipt)
        # else it has its end: it failed before the other was restored
        elif self._ctx.uploads.reason_of(job.receipt.ref) is None:
            self._tell(
                events.of_duplicate(job.receipt, record.finished_at, bucket),
                job.receipt,
            )
        self._settle(job)
        metrics.PHOTOS.labels(outcome="duplicate").inc()
        logger().info(
            "task.duplicate", task_id=record.task_id, upload_id=job.task.upload_id
        )

    def already_failed(self, job: Job, reason: Reason) -> None:
        """It was set aside, and this is another message of it. Without this look it
        would be tried all over again.
        """
        if job.claim.attempt > 1 or job.delivery.redelivered:
            # Whoever wrote the reason may have died before the rest of it.
            self._tell(events.of_reason(reason), job.receipt)
            job.delivery.dead(reason.error_code, reason.error_detail)
        self._settle(job)
        metrics.PHOTOS.labels(outcome="duplicate").inc()
        logger().info(
            "task.duplicate", task_id=job.task.task_id, upload_id=job.task.upload_id
        )

    def broken(self, job: Job, error: Exception) -> None:
        """An attempt ended with an error: try again later, or set the photo aside."""
        job.end()
        if job.withdrawn or self._ctx.uploads.is_withdrawn(job.receipt):
            self.withdrawn(job)
            return
        refused = self._ctx.clock.now() - job.task.queued_at < self._time_for(error)
        if isinstance(error, PermanentError) and not refused:
            self._fail(
                job.delivery, job.receipt, error.code, error.detail, job.claim.attempt
            )
            return
        made, policy = (
            job.claim.counted_attempts,
            self._patience if refused else self._policy,
        )
        wait_s = policy.delay_s(job.claim.attempt if refused else made)
        if wait_s is None:
            detail = f"{made} attempts failed; the last one: {_sentence(error)}"
            code = (
                error.code
                if isinstance(error, ObjectUnreadable)
                else Code.ATTEMPTS_EXHAUSTED
            )
            self._fail(job.delivery, job.receipt, code, detail, job.claim.attempt)
            return
        self._ctx.claims.fail(job.claim, error, wait_s, counts=not refused)
        # the claim says when the next try is due; the sweep calls for it
        job.delivery.ack()
        metrics.PHOTOS.labels(outcome="retried").inc()
        logger().warning(
            "task.retried",
            task_id=job.task.task_id,
            upload_id=job.task.upload_id,
            attempt=job.claim.attempt,
            delay_s=round(wait_s, 1),
            detail=_sentence(error),
            exc_info=not isinstance(error, DarkroomError),
        )

    def _time_for(self, error: Exception) -> timedelta:
        """So long a photo that ended with `error` is left to other workers, as if it
        had not been tried.
        """
        if isinstance(error, Missing):
            return (
                TOLD_TO_WAIT
                if self._ctx.settings.unavailable == "wait"
                else OTHER_WORKER
            )
        return OTHER_WORKER if isinstance(error, OtherRelease) else timedelta()

    def withdrawn(self, job: Job) -> None:
        """Its owner took it back and wrote the reason himself: nothing is left to tell."""
        self._settle(job)
        self._dropped(job.receipt)

    def spent(
        self, delivery: Delivery, receipt: Receipt, spent: AttemptsExhausted
    ) -> None:
        """The task had used up its attempts before this one could begin."""
        try:
            self._fail(delivery, receipt, spent.code, spent.detail, spent.attempts)
        except (PermanentError, ObjectRefused):
            # Its end cannot be written down. The sweep calls for it again; nobody waits
            # here for it.
            logger().exception(
                "task.endless", task_id=receipt.task_id, upload_id=receipt.upload_id
            )
            delivery.ack()

    def hand_back(self, job: Job) -> None:
        """The attempt was not made, as the worker leaves or lacks room; the delivery is
        not settled.
        """
        job.end()
        self._ctx.claims.release(job.claim)

    def _fail(
        self,
        delivery: Delivery,
        receipt: Receipt,
        code: Code,
        detail: str,
        attempts: int,
    ) -> None:
        reason = Reason(
            upload_id=receipt.upload_id,
            task_id=receipt.task_id,
            status="failed",
            error_code=code,
            error_detail=detail,
            source=receipt.source,
            attempts=attempts,
            retries=receipt.retries,
            at=self._ctx.clock.now(),
        )
        task_id, end = (
            receipt.task_id or "",
            self._quarantine(reason, with_copy=receipt.preview is None),
        )
        if end is None:
            delivery.ack()
            self._forget(task_id, attempts)
            self._dropped(receipt)
            return
        self._tell(events.of_reason(end), receipt)
        delivery.dead(end.error_code, end.error_detail)
        self._forget(task_id, attempts)
        metrics.PHOTOS.labels(outcome="failed").inc()
        logger().error(
            "task.failed",
            task_id=task_id,
            upload_id=receipt.upload_id,
            code=code,
            detail=detail,
            attempts=attempts,
        )

    def _quarantine(self, reason: Reason, with_copy: bool) -> Reason | None:
        """The photo's end: this one, or the one that an attempt before us wrote. None:
        its owner took it back.

        Never over what an owner wrote meanwhile: he writes first and looks for copies
        then, so one of us removes ours.
        """
        store, settings, uploads = (
            self._ctx.store,
            self._ctx.settings,
            self._ctx.uploads,
        )
        source = reason.source
        if with_copy and reason.error_code not in NOT_THERE:
            keep_copy(store, settings, reason.upload_id, source)
        if uploads.write_new_reason(reason):
            return reason
        earlier = uploads.reason_of(reason.ref)
        if earlier and earlier.error_code in WITHDRAWN:
            copy = keys.quarantined(reason.upload_id, source.key, source.filename)
            store.delete(settings.bucket_quarantine, copy)
            return None
        if earlier and earlier.retries == reason.retries:
            return earlier
        # What lies there is of another upload, of an earlier try, or damaged.
        uploads.write_reason(reason)
        return reason

    def _dropped(self, receipt: Receipt) -> None:
        metrics.PHOTOS.labels(outcome="withdrawn").inc()
        logger().info(
            "task.dropped", task_id=receipt.task_id, upload_id=receipt.upload_id
        )

    def _tell(self, event: LogEvent, receipt: Receipt) -> None:
        events.publish_event(self._ctx.publisher, event, receipt)

    def _settle(self, job: Job) -> None:
        job.end()
        passing("worker.before_ack")
        job.delivery.ack()
        self._forget(job.task.task_id, job.claim.attempt)

    def _forget(self, task_id: str, attempts: int) -> None:
        """Its end stands, whatever becomes of its claims: the sweep deletes those for
        which nobody waits.
        """
        try:
            self._ctx.claims.clear(task_id, attempts)
        except (PermanentError, ObjectRefused) as error:
            logger().warning("claim.left", task_id=task_id, detail=error.detail)


def _sentence(error: Exception) -> str:
    return (
        str(error)
        if isinstance(error, DarkroomError)
        else f"{type(error).__name__}: {error}"
    )
