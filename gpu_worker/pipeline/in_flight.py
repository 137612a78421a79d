"""The photos that a worker has in hand, and how big they may be together."""

from __future__ import annotations

import threading
from contextlib import suppress

from gpu_worker.pipeline.job import Job
from shared import workflows
from shared.errors import PermanentError
from shared.runtime.heartbeat import own
from shared.uploads.documents import Receipt

LOOK_S = 0.2


class Hand:
    """Jobs by task, thread-safe. Together they make at most `most_pixels`; a bigger one
    is worked on alone.
    """

    def __init__(self, most_pixels: int) -> None:
        self._most_pixels = most_pixels
        self._jobs: dict[str, Job] = {}
        self._changed = threading.Condition()

    def jobs(self) -> list[Job]:
        with self._changed:
            return list(self._jobs.values())

    def take(self, job: Job) -> None:
        with self._changed:
            self._jobs[job.task.task_id] = job

    def put_down(self, job: Job) -> None:
        with self._changed:
            del self._jobs[job.task.task_id]
            self._changed.notify_all()

    def wait_for_room(self, receipt: Receipt, leaving: threading.Event) -> bool:
        """Wait until this photo may be taken, too. False: the worker leaves first.

        There is one who waits, and nobody overtakes him: a big photo has its turn when
        those in hand are done.
        """
        wanted = pixels(receipt)
        with own().waiting(), self._changed:
            while (
                self._jobs
                and sum(pixels(job.receipt) for job in self._jobs.values()) + wanted
                > self._most_pixels
            ):
                if leaving.is_set():
                    return False
                self._changed.wait(LOOK_S)
            return True


def pixels(receipt: Receipt) -> int:
    """The larger of what goes in and what comes out, by the header."""
    source, scale = receipt.source, 1.0
    if receipt.workflow:
        with suppress(PermanentError):  # said when the photo is begun
            scale = workflows.resolve(
                receipt.workflow.name, receipt.workflow.params
            ).scale
    return int((source.width or 0) * (source.height or 0) * max(1.0, scale) ** 2)
