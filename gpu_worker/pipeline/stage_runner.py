"""One stage's work on one job: timed, watched, and the job ended where it fails."""

from __future__ import annotations

from structlog.contextvars import bound_contextvars

from gpu_worker.engines import DeviceLost
from gpu_worker.pipeline import metrics
from gpu_worker.pipeline.context import Context
from gpu_worker.pipeline.in_flight import InFlight
from gpu_worker.pipeline.inbox import Inbox
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.lanes import Lane
from gpu_worker.pipeline.outcome import Outcomes
from gpu_worker.pipeline.retrying import is_outage
from gpu_worker.pipeline.stages import Interrupted, Stage
from shared.errors import Code, TransientError
from shared.notices import tell
from shared.runtime import tracing
from shared.runtime.heartbeat import own
from shared.runtime.telemetry import logger

DISK_FULL_PAUSE_S = 15.0
DISK_NOTICE_PAUSE_S = 600.0
REFUSED_END_PAUSE_S = 5.0


class StageRunner:
    """Used by the threads of all stages."""

    def __init__(
        self, ctx: Context, outcomes: Outcomes, in_flight: InFlight, inbox: Inbox
    ) -> None:
        self._clock = ctx.clock
        self._outcomes = outcomes
        self._in_flight = in_flight
        self._inbox = inbox
        self._publisher = ctx.publisher
        self._jobs: dict[str, Job] = {}
        self._disk_notice_s = float("-inf")

    def job_in(self, name: str) -> Job | None:
        """The job in the lane of this name."""
        return self._jobs.get(name)

    def run(self, lane: Lane, stage: Stage, job: Job) -> bool:
        """Whether the job goes on to the next stage. Otherwise it ended here or, if the
        worker leaves during an outage, stays in flight and is released.

        Raises `DeviceLost`.
        """
        passed = self._jobs.get(lane.name)
        self._jobs[lane.name] = job
        ids = {"task_id": job.task_id, "upload_id": job.upload_id}
        try:
            with own().working(), bound_contextvars(**ids):
                return self._run(lane.stage, stage, job)
        finally:
            if passed is None:
                del self._jobs[lane.name]
            else:
                self._jobs[lane.name] = passed

    def _run(self, name: str, stage: Stage, job: Job) -> bool:
        try:
            self._time(name, stage, job)
        except DeviceLost:
            raise
        except Interrupted:
            return False
        except Exception as error:
            self._end(job, error)
            return False
        return True

    def _time(self, name: str, stage: Stage, job: Job) -> None:
        began_s = self._clock.monotonic()
        passed_s = job.passed_s
        job.stage_since_s = began_s
        try:
            with tracing.span(
                f"photo.{name}",
                job.receipt.traceparent,
                upload_id=job.upload_id,
                task_id=job.task_id,
                attempt=job.claim.attempt,
            ):
                stage(job)
        finally:
            took_s = self._clock.monotonic() - began_s - (job.passed_s - passed_s)
            job.busy_s += took_s
        seconds = metrics.SECONDS.labels(stage=name)
        seconds.observe(took_s)

    def _end(self, job: Job, error: Exception) -> None:
        """End the job by `error`. An outage is raised only while the worker leaves:
        then the job stays in flight.
        """
        if is_outage(error):
            return
        try:
            if isinstance(error, TransientError) and error.code == Code.DISK_FULL:
                self._defer(job, error)
            else:
                self._outcomes.attempt_failed(job, error)
        except Exception as fault:
            if is_outage(fault):
                return
            self._give_up(job)
        self._in_flight.remove(job)

    def _defer(self, job: Job, error: TransientError) -> None:
        """Let the photo wait here until the disk has room. The photo is not to blame,
        and other photos, which need no room, go on.
        """
        self._outcomes.release(job)
        self._inbox.park(job.delivery, DISK_FULL_PAUSE_S)
        logger().error(
            "task.deferred",
            task_id=job.task_id,
            detail=error.detail,
            delay_s=DISK_FULL_PAUSE_S,
        )
        now_s = self._clock.monotonic()
        if now_s - self._disk_notice_s > DISK_NOTICE_PAUSE_S:
            self._disk_notice_s = now_s
            tell(self._publisher, "disk", error.detail)

    def _give_up(self, job: Job) -> None:
        """The store refuses even the end of the job. The attempt counts, because its
        lease runs out; the message waits for that.
        """
        logger().exception("task.endless", task_id=job.task_id, upload_id=job.upload_id)
        job.end()
        self._inbox.park(job.delivery, REFUSED_END_PAUSE_S)
