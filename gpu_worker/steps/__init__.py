"""Steps: each takes a photo and gives a photo. There is one file per kind of step."""

from gpu_worker.steps.base import StepResult, Tools
from gpu_worker.steps.registry import KINDS, MODULES, run

__all__ = ["KINDS", "MODULES", "StepResult", "Tools", "run"]
