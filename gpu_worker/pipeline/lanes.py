"""How many photos each stage works on at once."""

from __future__ import annotations

import os
from dataclasses import dataclass

from gpu_worker.engines import CPU
from gpu_worker.pipeline.stages import PREPARE, RESTORE, STORE_RESULT
from shared.runtime.settings import WorkerSettings

FEWEST, MOST = 8, 16
"""Of either stage, beside a device that is not the CPU. Eight hide a store that is 20 ms
away from a device that takes 25 ms a photo; more make use of more cores.
"""


@dataclass(frozen=True)
class Lane:
    """One of the threads of a stage, each of which works on one photo at a time."""

    stage: str
    number: int

    @property
    def name(self) -> str:
        """As logs and heartbeats know it: the first by the name of its stage."""
        return self.stage if self.number == 1 else f"{self.stage}-{self.number}"


@dataclass(frozen=True)
class Lanes:
    """The number of lanes of the two stages that need no device."""

    prepare: int = 1
    store_result: int = 1

    @classmethod
    def of(cls, settings: WorkerSettings, device: str) -> Lanes:
        """As the settings say; by default one each where the CPU is the device, which
        needs its cores for that.
        """
        default = 1
        if device != CPU:
            default = min(MOST, max(FEWEST, os.cpu_count() or 1))
        return cls(settings.prepare_lanes or default, settings.store_lanes or default)

    @property
    def most_photos(self) -> int:
        """Photos that are worked on at once: one a lane, and one on the device."""
        return self.prepare + 1 + self.store_result

    def of_stage(self, stage: str) -> list[Lane]:
        """The lanes of a stage; a device has one."""
        counts = {PREPARE: self.prepare, RESTORE: 1, STORE_RESULT: self.store_result}
        return [Lane(stage, number) for number in range(1, counts[stage] + 1)]
