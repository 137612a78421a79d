"""Engines run a model's network on pixels. `select` decides which one a worker uses."""

from gpu_worker.engines.base import (
    CPU,
    Choice,
    Colorizer,
    Colorizing,
    DeviceLost,
    Engine,
    FaceRestorer,
    FaceRestoring,
    MeasuresMemory,
    Network,
    OutOfMemory,
)
from gpu_worker.engines.cache import unload
from gpu_worker.engines.registry import has_cuda, on_cpu, select, serving

__all__ = [
    "CPU",
    "Choice",
    "Colorizer",
    "Colorizing",
    "DeviceLost",
    "Engine",
    "FaceRestorer",
    "FaceRestoring",
    "MeasuresMemory",
    "Network",
    "OutOfMemory",
    "has_cuda",
    "on_cpu",
    "select",
    "serving",
    "unload",
]
