"""A photo that fails on the device: its reason says where, and what it took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gpu_worker.engines import OutOfMemory
from gpu_worker.photo import Photo, Pixels
from gpu_worker.pipeline.restore import Restore
from shared import workflows
from shared.errors import Code, PermanentError
from shared.models import Model, get
from shared.runtime.heartbeat import Pulse
from shared.runtime.settings import Settings
from tests.support.worker_rig import WorkerRig


class Broken:
    """A GPU whose network gives NaN."""

    name, device, lanes, batch = "torch", "a card", 1, 1
    model = get("realesr-animevideov3")
    bytes_per_px = 1
    kernels = "stand-in"

    def check(self, model: Model) -> None: ...

    def load(self, model: Model) -> Any:
        return self

    def free_bytes(self) -> int:
        return 10**9

    def reset_peak(self) -> None: ...

    def peak_bytes(self) -> int | None:
        return 123

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:
        raise PermanentError(Code.INVALID_OUTPUT, "NaN")


class Full(Broken):
    """A GPU into which no tile fits."""

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:
        raise OutOfMemory


def test_what_did_not_fit_says_how_it_was_cut_and_beside_how_many() -> None:
    """The question of "CUDA out of memory": failures by size, concurrency and memory."""
    rig = WorkerRig()
    job = rig.begin()
    job.photo = Photo(np.zeros((200, 300, 3), np.uint8))
    job.workflow = workflows.resolve("fast")
    job.busy_s = 1.5
    settings = Settings(tile_px=256, cpu_fallback=False)
    stage = Restore(Full(), settings, Pulse(), lambda _: None, lambda: 3)
    with pytest.raises(PermanentError) as caught:
        stage(job)
    rig.outcomes.attempt_failed(job, caught.value)
    told = rig.world.log()[-1].fields
    assert told["error_code"] == Code.OUT_OF_MEMORY
    assert (told["concurrency"], told["tile_px"]) == (3, 64)
    assert told["duration_seconds"] == 1.5
    assert told["queue_seconds"] >= 0
    assert told["peak_device_memory_bytes"] == 123


def test_a_photo_that_cannot_be_decoded_says_how_long_that_took() -> None:
    """It came to no device, and names none."""
    rig = WorkerRig()
    job = rig.begin()
    job.busy_s = 0.25
    broken = PermanentError(Code.DECODE_ERROR, "broken")
    rig.outcomes.attempt_failed(job, broken)
    told = rig.world.log()[-1].fields
    assert told["duration_seconds"] == 0.25
    assert {"engine", "tile_px", "concurrency"}.isdisjoint(told)


def test_a_failed_photo_says_where_and_what_it_took() -> None:
    """In its reason, and in the audit log's row."""
    rig = WorkerRig()
    job = rig.begin()
    job.photo = Photo(np.zeros((8, 8, 3), np.uint8))
    job.workflow = workflows.resolve("fast")
    stage = Restore(Broken(), Settings(), Pulse(), lambda _: None)
    with pytest.raises(PermanentError) as caught:
        stage(job)
    rig.outcomes.attempt_failed(job, caught.value)
    reason = rig.ctx.uploads.reason_of(rig.receipt.ref)
    assert reason is not None
    assert (reason.engine, reason.device) == ("torch", "a card")
    assert reason.peak_device_memory_bytes == 123
    told = rig.world.log()[-1]
    assert (told.kind, told.fields["device"]) == ("failed", "a card")
    assert told.fields["peak_memory_bytes"] > 10**6
