"""Our own 3x3 convolutions on the CPU: `winograd.c`, compiled when Darkroom is
installed where a C compiler is.

They take half the time of ncnn's on AVX2, a third on AVX-512, and a sixth of its
memory. Without them ncnn does the work.
"""

from gpu_worker.engines.kernels.convolution import (
    VERSION,
    Filters,
    Floats,
    Kernels,
    Spent,
    Step,
    aligned,
    available,
    best,
    run,
    together,
)

__all__ = [
    "VERSION",
    "Filters",
    "Floats",
    "Kernels",
    "Spent",
    "Step",
    "aligned",
    "available",
    "best",
    "run",
    "together",
]
