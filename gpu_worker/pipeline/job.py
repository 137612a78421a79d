"""One photo on its way through the worker."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime

from gpu_worker.photo import Mask, Photo
from gpu_worker.pipeline.beside import Asked
from gpu_worker.restore import Restored, Spent
from shared.broker.consumer import Delivery
from shared.runtime.heartbeat import own
from shared.uploads.claims import Claim, DraftNote
from shared.uploads.documents import Copy, Credentials, Plan, Receipt, StepTime
from shared.uploads.messages import RestoreTask
from shared.workflows import ResolvedWorkflow


@dataclass
class Job:
    """What the stages hand on. Only the stage that has the job touches it; its lease is
    renewed beside it, under `lock`, until the job has `ended`.

    `original`: the upload's bytes, on their way from the store. `painted`: the mask that
    came with it, of the size of `photo`. `copies`: what was made
    beside the result, as were `credentials`; `notes`: sentences for the record beside the photo's own.
    `busy_s`: time that stages spent on it so far; between two stages it waits.
    `stage_since_s`: when its present stage began (monotonic). `passed_by`: how
    many smaller photos were restored between its tiles, in `passed_s` seconds;
    `peak_memory_bytes`: largest resident memory before the last of them.
    `concurrency`: photos in hand when it came to the device; None: it did not yet.
    `spent`: what it took, where it failed on the device.
    `progress`: fraction of the inference that is done; `written_progress`: as of the
    last renewal. `draft`: the newest that was stored; `is_drafted`: one may be, or
    comes in a moment. `renewed_s`, `refused_s`: when the lease began or was last
    renewed, and when the store last refused that (monotonic). `withdrawn`: the owner
    cancelled or erased the upload.
    """

    delivery: Delivery
    task: RestoreTask
    receipt: Receipt
    claim: Claim
    started_at: datetime
    original: Asked[bytearray] | None = None
    busy_s: float = 0.0
    workflow: ResolvedWorkflow | None = None
    plan: Plan | None = None
    photo: Photo | None = None
    painted: Mask | None = None
    restored: Restored | None = None
    concurrency: int | None = None
    spent: Spent | None = None
    steps: list[StepTime] = field(default_factory=list)
    stage_since_s: float = 0.0
    passed_by: int = 0
    passed_s: float = 0.0
    peak_memory_bytes: int = 0
    copies: list[Copy] = field(default_factory=list)
    credentials: Credentials | None = None
    notes: list[str] = field(default_factory=list)
    progress: float = 0.0
    written_progress: float = 0.0
    draft: DraftNote | None = None
    is_drafted: bool = False
    renewed_s: float = float("-inf")
    refused_s: float = float("-inf")
    withdrawn: bool = False
    ended: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def task_id(self) -> str:
        return self.task.task_id

    @property
    def upload_id(self) -> str:
        return self.task.upload_id

    @property
    def applied(self) -> ResolvedWorkflow:
        """The workflow of the restored photo without the steps that were skipped."""
        assert self.restored is not None
        assert self.workflow is not None
        return self.restored.applied or self.workflow

    def end(self) -> None:
        """From now on the lease is not renewed."""
        # A renewal may hold the lock while it waits for a store that is away.
        with own().waiting(), self.lock:
            self.ended = True
