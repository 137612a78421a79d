"""Engines run a model's network on pixels. `select` decides which one a worker uses."""

from gpu_worker.engines.base import (
    CPU,
    Choice,
    DeviceLost,
    Engine,
    MeasuresMemory,
    Network,
    OutOfMemory,
    PictureNetwork,
    RunsPictures,
)
from gpu_worker.engines.cache import unload
from gpu_worker.engines.registry import has_cuda, on_cpu, select, serving

__all__ = [
    "CPU",
    "Choice",
    "DeviceLost",
    "Engine",
    "MeasuresMemory",
    "Network",
    "OutOfMemory",
    "PictureNetwork",
    "RunsPictures",
    "has_cuda",
    "on_cpu",
    "select",
    "serving",
    "unload",
]
