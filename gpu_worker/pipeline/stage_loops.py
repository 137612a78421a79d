"""The three stages in threads of their own, so that the device never waits for the
network.

    inbox ─▶ [prepare] ─▶ [restore] ─1─▶ [store result] ─▶ settled
              photo n+1     photo n        photo n−1

Prepare and store have several lanes, each a thread with a photo of its own, where the
device is not the CPU. So many photos as prepare has lanes are ahead of the device, and
between it and the last stage one waits: whatever the queue holds, few photos are in
memory, and `InFlight` bounds their size.
"""

from __future__ import annotations

import queue
import threading
from functools import partial

from gpu_worker.engines import DeviceLost
from gpu_worker.pipeline import threads
from gpu_worker.pipeline.begin import Later
from gpu_worker.pipeline.drain import Shutdown
from gpu_worker.pipeline.in_flight import InFlight
from gpu_worker.pipeline.inbox import Inbox
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.lanes import Lane, Lanes
from gpu_worker.pipeline.stage_runner import StageRunner
from gpu_worker.pipeline.stages import (
    PREPARE,
    RESTORE,
    STORE_RESULT,
    Interrupted,
    Stages,
)
from gpu_worker.pipeline.watchdog import StagePulses
from shared.broker.consumer import Delivery
from shared.errors import ObjectRefused
from shared.runtime.heartbeat import own
from shared.runtime.telemetry import logger

POLL_S = 0.2
"""How soon a stage without work notices that the worker leaves."""
RETRY_S = 5.0
"""How soon a delivery is looked at again that could not be begun."""


class StageLoops:
    """Each loop ends once the worker leaves and the loop before it has ended."""

    def __init__(
        self,
        stages: Stages,
        runner: StageRunner,
        inbox: Inbox,
        in_flight: InFlight,
        shutdown: Shutdown,
        lanes: Lanes,
    ) -> None:
        self.stages = stages
        self.to_restore: queue.Queue[Job | None] = queue.Queue(lanes.prepare)
        self.to_store: queue.Queue[Job | None] = queue.Queue(1)
        self._lanes = lanes
        self._preparing = threading.Semaphore(lanes.prepare - 1)
        self._runner = runner
        self._inbox = inbox
        self._in_flight = in_flight
        self._shutdown = shutdown
        self._ahead = threading.Semaphore(lanes.prepare)
        self._device_works = True

    def start(self, pulses: StagePulses, *names: str) -> list[threading.Thread]:
        """Start the loops of these stages."""
        loops = {
            PREPARE: self._prepare,
            RESTORE: self._restore,
            STORE_RESULT: self._store_result,
        }
        return [
            threads.start(
                lane.name,
                partial(loops[stage], lane),
                pulses.by_lane[lane.name],
                in_background=stage != RESTORE,
            )
            for stage in names
            for lane in self._lanes.of_stage(stage)
        ]

    def begin(self, delivery: Delivery) -> Job | None:
        """The job that a delivery asks for, in flight from now on; None: there is
        nothing to do at the moment.
        """
        with self._in_flight.beginning():
            begun = self._try_to_begin(delivery)
            if isinstance(begun, Job):
                self._in_flight.add(begun)
                return begun
        if isinstance(begun, Later):
            self._inbox.park(delivery, begun.seconds)
        return None

    def _try_to_begin(self, delivery: Delivery) -> Job | Later | None:
        try:
            with own().working():
                return self.stages.begin(delivery)
        except ObjectRefused as error:
            # The sweep publishes the task again once the store gives or takes what it
            # refused; no worker waits for that.
            logger().error(
                "worker.failed_to_begin", code=error.code, detail=error.detail
            )
            delivery.ack()
            return None
        except Exception:
            # Nothing of the photo was touched yet, so the fault lies elsewhere.
            logger().exception("worker.failed_to_begin")
            return Later(RETRY_S)

    def _prepare(self, lane: Lane) -> None:
        while not self._shutdown.requested.is_set():
            # No more photos wait for the device than are prepared at once: which is
            # next is decided as late as possible.
            if self._ahead.acquire(timeout=POLL_S) and not self._prepare_one(lane):
                self._ahead.release()
        is_last = not self._preparing.acquire(blocking=False)
        if is_last:
            self.to_restore.put(None)

    def _prepare_one(self, lane: Lane) -> bool:
        """Whether a photo was prepared; False: there was none, or it ended here."""
        delivery = self._inbox.next(timeout_s=POLL_S)
        if delivery is None:
            return False
        job = self.begin(delivery)
        if job is None or not self._runner.run(lane, self.stages.prepare, job):
            return False
        self.to_restore.put(job)
        return True

    def restore_next(self) -> None:
        """Take the next photo out and restore it, while another one is on the device.

        Raises `Interrupted` where the device does not work any more.
        """
        job = self.to_restore.get()
        assert job is not None
        self._ahead.release()
        (lane,) = self._lanes.of_stage(RESTORE)
        self._restore_one(lane, job)
        if not self._device_works:
            raise Interrupted

    def _restore(self, lane: Lane) -> None:
        for job in iter(self.to_restore.get, None):
            self._ahead.release()
            if self._device_works:
                self._restore_one(lane, job)
        for _ in self._lanes.of_stage(STORE_RESULT):
            self.to_store.put(None)

    def _restore_one(self, lane: Lane, job: Job) -> None:
        try:
            if self._runner.run(lane, self.stages.restore, job):
                with own().waiting():
                    self.to_store.put(job)
        except DeviceLost:
            # Every other photo would fail, too: a fresh process takes them up. The
            # attempt at this one counts, because its lease runs out.
            logger().critical(
                "process.stuck",
                thread=RESTORE,
                task_id=job.task_id,
                upload_id=job.upload_id,
                exc_info=True,
            )
            self._in_flight.remove(job)
            self._shutdown.request_after_fault()
            self._device_works = False

    def _store_result(self, lane: Lane) -> None:
        for job in iter(self.to_store.get, None):
            if self._runner.run(lane, self.stages.store_result, job):
                self._in_flight.remove(job)
