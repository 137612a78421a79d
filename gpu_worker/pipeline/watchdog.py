"""Notices that a stage or the consumer hangs, and ends the process then."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping

from gpu_worker.pipeline import threads
from gpu_worker.pipeline.context import Context
from gpu_worker.pipeline.drain import Shutdown
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.lanes import Lanes
from gpu_worker.pipeline.lease_renewal import EVERY_S
from gpu_worker.pipeline.stages import PYRAMIDS, STAGES
from shared.runtime.heartbeat import QUIET_S, Pulse, Quiet
from shared.runtime.telemetry import logger
from shared.s3.clock import Clock
from shared.uploads.claims import RENEWALS_PER_LEASE

PAUSE_S = 10.0
"""A wait of a second that takes longer means that the process was stopped, or the
machine slept.
"""


class StagePulses:
    """Signs of life of the stages, lane by lane, and of what is beside them. A lane rests without a photo, and while
    it waits for a service.
    """

    def __init__(self, clock: Clock, stall_s: float, lanes: Lanes) -> None:
        names = [lane.name for stage in STAGES for lane in lanes.of_stage(stage)]
        names.append(PYRAMIDS)
        self.by_lane = {name: Pulse(clock.monotonic) for name in names}
        self._stall_s = stall_s

    def stuck(self) -> str:
        """The name of a lane that hangs; empty while none does."""
        for name, pulse in self.by_lane.items():
            if pulse.quiet_s() > self._stall_s:
                return name
        return ""

    def parts(self) -> Mapping[str, Quiet]:
        """The lanes as parts of the process's heartbeat."""
        return {name: pulse.quiet_s for name, pulse in self.by_lane.items()}

    def limits_s(self) -> Mapping[str, float]:
        """How long each of these parts may be quiet."""
        return dict.fromkeys(self.by_lane, self._stall_s)


class Watchdog:
    """Looks about every second. `renew_leases` is called after every look, because a
    process that no longer watches itself must not keep its photos; `release_others`
    with the lane that hangs, before the process ends. `job_in`: the photo in a lane.
    """

    def __init__(
        self,
        ctx: Context,
        shutdown: Shutdown,
        pulses: StagePulses,
        consumer_quiet_s: Quiet,
        renew_leases: Callable[[], None],
        release_others: Callable[[str], None],
        job_in: Callable[[str], Job | None],
    ) -> None:
        self._stall_s = ctx.settings.stall_s
        self._every_s = min(EVERY_S, ctx.settings.lease_s / RENEWALS_PER_LEASE)
        self._clock = ctx.clock
        self._shutdown = shutdown
        self._pulses = pulses
        self._consumer_quiet_s = consumer_quiet_s
        self._renew_leases = renew_leases
        self._release_others = release_others
        self._job_in = job_in

    def run(self, closing: threading.Event) -> None:
        """Watch until `closing`."""
        awake_since_s = self._clock.monotonic()
        while True:
            wait_began_s = self._clock.monotonic()
            if closing.wait(self._every_s):
                return
            now_s = self._clock.monotonic()
            if now_s - wait_began_s > PAUSE_S:
                # No thread shows life while the whole process stands still, so all of
                # them have their time again after that.
                awake_since_s = now_s
            awake_s = now_s - awake_since_s
            if awake_s > self._stall_s:
                self._check_stages()
            if awake_s > QUIET_S:
                self._check_consumer()
            self._renew_leases()

    def _check_stages(self) -> None:
        lane = self._pulses.stuck()
        if not lane:
            return
        job = self._job_in(lane)
        ids = {"task_id": job.task_id, "upload_id": job.upload_id} if job else {}
        logger().critical("process.stuck", thread=lane, seconds=self._stall_s, **ids)
        # The photo that hangs may be to blame: its attempt counts, because its lease
        # runs out. Those beside it lose no attempt. The supervisor starts a fresh
        # process.
        self._release_others(lane)
        os._exit(threads.EXIT_STUCK)

    def _check_consumer(self) -> None:
        if self._consumer_quiet_s() > QUIET_S and not self._shutdown.is_fault:
            logger().critical("process.stuck", thread="consumer", seconds=QUIET_S)
            self._shutdown.request_after_fault()
