"""Prepared photo → restored photo: the only stage that needs the device."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from gpu_worker.engines import Engine
from gpu_worker.pipeline.job import Job
from gpu_worker.restore import restore, seed_of, spent_on
from gpu_worker.tile_runner import Placed, ignore
from shared.errors import Code, PermanentError
from shared.runtime.failpoints import passing
from shared.runtime.heartbeat import Pulse
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger


class Restore:
    """The second stage. It beats `pulse` with every bit of progress, so that inference
    that hangs is noticed however long a photo takes; between two tiles it calls
    `let_pass`. `in_hand` counts the photos that the worker has begun; `drafts` gives
    what is told of a photo's parts that are done.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        pulse: Pulse,
        let_pass: Callable[[Job], None],
        in_hand: Callable[[], int] = lambda: 1,
        drafts: Callable[[Job], Placed] = lambda _: ignore,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._pulse = pulse
        self._let_pass = let_pass
        self._in_hand = in_hand
        self._drafts = drafts

    def __call__(self, job: Job) -> None:
        """Raises `PermanentError(cancelled)` when the owner cancels meanwhile, and what
        `gpu_worker.restore` raises.
        """
        assert job.photo is not None
        assert job.workflow is not None
        progress = partial(self._report, job)
        progress(0.0)
        job.concurrency = self._in_hand()
        logger().info(
            "task.begun",
            task_id=job.task_id,
            upload_id=job.upload_id,
            pid=os.getpid(),
            attempt=job.claim.attempt,
            claimed_at=job.started_at.isoformat(),
        )
        try:
            job.restored = restore(
                job.photo,
                job.workflow,
                self._engine,
                self._settings,
                progress,
                job.plan,
                between_tiles=partial(self._let_pass, job),
                seed=seed_of(job.task_id),
                painted=job.painted,
                placed=self._drafts(job),
            )
        except Exception as error:
            job.spent = spent_on(self._engine, error)
            raise
        job.steps += job.restored.steps
        # The input's memory is needed for the next photo.
        job.photo = None
        job.painted = None
        passing("worker.after_inference")

    def _report(self, job: Job, done: float) -> None:
        self._pulse.beat()  # engines report from threads of their own
        job.progress = done
        if job.withdrawn:
            raise PermanentError(Code.CANCELLED, "the owner cancelled the upload")
