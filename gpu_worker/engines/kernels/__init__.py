"""Our own 3x3 convolutions on the CPU: `winograd.c`, compiled when Darkroom is
installed where a C compiler is.

On two AVX2 cores they take half the time of ncnn's and a sixth of its memory. Without
them ncnn does the work.
"""

from gpu_worker.engines.kernels.convolution import (
    LANE,
    VERSION,
    Filters,
    Floats,
    Step,
    library,
    run,
)

__all__ = ["LANE", "VERSION", "Filters", "Floats", "Step", "library", "run"]
