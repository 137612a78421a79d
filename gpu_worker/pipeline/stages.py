"""The three stages of the pipeline: their names, and what each of them offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gpu_worker.pipeline.begin import Later
from gpu_worker.pipeline.job import Job
from shared.broker.consumer import Delivery

PREPARE = "prepare"
RESTORE = "restore"
STORE_RESULT = "finish"  # metrics and logs know the last stage by this name
STAGES = (PREPARE, RESTORE, STORE_RESULT)
PYRAMIDS = "tiles"
"""The thread beside the stages, as logs and heartbeats know it."""


class Interrupted(Exception):
    """The work on a job ends because the worker leaves: it stays in flight, and is
    released.
    """


Stage = Callable[[Job], None]
"""The work of one stage on one job. Raises `PermanentError` for a fault of the photo,
`TransientError` where another attempt may succeed, `DeviceLost` where none can in this
process.
"""


@dataclass
class Stages:
    """`begin` claims the task of a delivery; the others work on the job, in order."""

    begin: Callable[[Delivery], Job | Later | None]
    prepare: Stage
    restore: Stage
    store_result: Stage
