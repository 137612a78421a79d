"""Small photos pass a big one on the device: between two of its tiles they are restored,
so that nobody waits for minutes behind a large scan.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import Queue

from gpu_worker.pipeline.in_flight import PASSING_PART, pixels
from gpu_worker.pipeline.job import Job
from gpu_worker.pixels import memory
from shared.runtime import heartbeat
from shared.runtime.heartbeat import Pulse
from shared.s3.clock import Clock


class Passing:
    """Lets photos from `waiting` pass the one on the device. `restore` takes the next
    one out and restores it.

    A photo passes one that is at least `PASSING_PART` times its size. Together they
    have no more of the device's time than the one that they pass, which so takes twice
    as long at most.
    """

    def __init__(
        self,
        waiting: Queue[Job | None],
        restore: Callable[[], None],
        pulse: Pulse,
        clock: Clock,
    ) -> None:
        self._waiting = waiting
        self._restore = restore
        self._pulse = pulse
        self._clock = clock

    def __call__(self, running: Job) -> None:
        """Called between two tiles of `running`, by the thread that runs them. Raises
        what `restore` raises.
        """
        while self._may_pass(running):
            running.peak_memory_bytes = max(
                running.peak_memory_bytes, memory.peak_bytes()
            )
            began_s = self._clock.monotonic()
            own = heartbeat.own()
            heartbeat.give(self._pulse)
            try:
                self._restore()
            finally:
                heartbeat.give(own)
            running.passed_by += 1
            running.passed_s += self._clock.monotonic() - began_s

    def _may_pass(self, running: Job) -> bool:
        # Only the device's stage takes photos out, and it is here.
        with self._waiting.mutex:
            first = self._waiting.queue[0] if self._waiting.queue else None
        if first is None:
            return False
        if pixels(first.receipt) * PASSING_PART > pixels(running.receipt):
            return False
        on_device_s = self._clock.monotonic() - running.stage_since_s
        return running.passed_s <= on_device_s - running.passed_s
