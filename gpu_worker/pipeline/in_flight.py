"""The photos that a worker has begun, and how big they may be together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gpu_worker.pipeline.job import Job
from shared import workflows
from shared.errors import PermanentError, StorageUnavailable
from shared.runtime.heartbeat import own
from shared.uploads.documents import Receipt, WorkflowRef

PASSING_PART = 8
"""However big a photo is, this part of the room is left for those that pass it."""
BYTES_PER_PX = 6
"""Of a file: 16-bit RGB, the most that an honest one holds."""
POLL_S = 0.2
"""How soon a wait for room notices that the worker leaves."""


class InFlight:
    """Thread-safe. Together the jobs have at most `max_pixels`; a bigger photo counts as
    if it left room for small ones, which may pass it. One task may have two jobs here:
    a store that froze for longer than the lease let the task be claimed again.
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._most_counted = max_pixels - max_pixels // PASSING_PART
        self._jobs: dict[int, tuple[Job, int]] = {}
        """With the pixels that each counts as."""
        self._held_px: dict[int, int] = {}
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    def jobs(self) -> list[Job]:
        with self._changed:
            return [job for job, _ in self._jobs.values()]

    def add(self, job: Job) -> None:
        counted = self._counted(job.receipt)
        with self._changed:
            self._jobs[id(job)] = (job, counted)

    def remove(self, job: Job) -> None:
        with self._changed:
            del self._jobs[id(job)]
            self._changed.notify_all()

    @contextmanager
    def beginning(self) -> Iterator[None]:
        """In this block a thread begins one photo: until its end, the room that it
        waited for is nobody else's.
        """
        try:
            yield
        finally:
            with self._changed:
                self._held_px.pop(threading.get_ident(), None)
                self._changed.notify_all()

    def wait_for_room(self, receipt: Receipt, leaving: threading.Event) -> bool:
        """Wait until this photo may be begun, too. False: `leaving` was set first.

        One thread waits for room, and others for their turn to, so no photo overtakes
        another: a big one has its turn when those in flight are done.
        """
        wanted = self._counted(receipt)
        with own().waiting(), self._turn, self._changed:
            while not self._has_room(wanted):
                if leaving.is_set():
                    return False
                self._changed.wait(POLL_S)
            self._held_px[threading.get_ident()] = wanted
            return True

    def is_behind_a_big_one(self, receipt: Receipt) -> bool:
        """Whether this photo has no room because of a single other one, which takes as
        long as smaller ones must not wait.
        """
        with self._changed:
            if self._most_counted not in self._counts():
                return False
            return not self._has_room(self._counted(receipt))

    def _has_room(self, wanted: int) -> bool:
        if not self._jobs and not self._held_px:
            return True
        return sum(self._counts()) + wanted <= self._max_pixels

    def _counts(self) -> list[int]:
        """What each photo that is begun, or about to be, counts as."""
        begun = [counted for _, counted in self._jobs.values()]
        return [*begun, *self._held_px.values()]

    def _counted(self, receipt: Receipt) -> int:
        return min(pixels(receipt), self._most_counted)


def pixels(receipt: Receipt) -> int:
    """The larger of what goes in and what comes out, in pixels, by the header; the file
    itself, which is in memory, too, counts by `BYTES_PER_PX`.
    """
    source = receipt.source
    scale = max(1.0, _scale(receipt.workflow))
    out = int((source.width or 0) * (source.height or 0) * scale**2)
    return max(out, (source.bytes or 0) // BYTES_PER_PX)


def _scale(workflow: WorkflowRef | None) -> float:
    if workflow is None:
        return 1.0
    try:
        found = workflows.resolve(workflow.name, workflow.params, workflow.version)
    except (PermanentError, StorageUnavailable):
        return 1.0  # reported when the photo is begun
    return found.scale
