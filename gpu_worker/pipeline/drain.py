"""How a worker leaves: photos in flight are finished, or given back to other workers."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress

from gpu_worker.pipeline import threads
from gpu_worker.pipeline.context import Context
from gpu_worker.pipeline.in_flight import InFlight
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.outcome import Outcomes
from shared.errors import ObjectRefused, PermanentError, StorageUnavailable

RELEASE_S = 5.0
"""Time limit for giving photos back."""


class Shutdown:
    """Whether the worker leaves. `requested`: no further photo is begun. `forced`:
    waiting for a service that is down ends, too.
    """

    def __init__(self) -> None:
        self.requested = threading.Event()
        self.forced = threading.Event()
        self.is_fault = False

    def request(self) -> None:
        self.requested.set()

    def request_after_fault(self) -> None:
        """Leave because the process no longer works. It is drained all the same, so
        that no photo loses an attempt by it, and its exit status says so.
        """
        self.is_fault = True
        self.request()


class Drain:
    """The end of the pipeline's work."""

    def __init__(
        self, ctx: Context, outcomes: Outcomes, in_flight: InFlight, shutdown: Shutdown
    ) -> None:
        self._clock = ctx.clock
        self._drain_s = ctx.settings.drain_s
        self._outcomes = outcomes
        self._in_flight = in_flight
        self._shutdown = shutdown

    def finish(self, stages: Iterable[threading.Thread]) -> None:
        """Wait up to `drain_s` for the stages to end, then release what is left."""
        deadline_s = self._clock.monotonic() + self._drain_s
        for stage in stages:
            left_s = deadline_s - self._clock.monotonic()
            stage.join(max(0.0, left_s))
        self._shutdown.forced.set()
        self.release()

    def release(self, except_for: Job | None = None) -> None:
        """Release the claims of the photos in flight, within `RELEASE_S`."""
        # A store that takes the request and never answers must not hold up the end:
        # then the leases run out by themselves.
        thread = threads.start("release", lambda: self._release(except_for))
        thread.join(RELEASE_S)

    def _release(self, except_for: Job | None) -> None:
        jobs = [job for job in self._in_flight.jobs() if job is not except_for]
        with suppress(StorageUnavailable):
            for job in jobs:
                # A claim that the store refuses to delete runs out by itself.
                with suppress(PermanentError, ObjectRefused):
                    self._outcomes.release(job)
