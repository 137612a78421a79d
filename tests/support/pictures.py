"""Pictures for tests: smooth shapes with some noise, closer to a photo than noise
alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def photo_like(
    height: int, width: int, channels: int = 3, bits: int = 8, seed: int = 1
) -> NDArray[Any]:
    """(height, width, channels) uint8 or uint16 over the full range."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (5 + c) + seed) * np.cos(y / (9 - c)) for c in range(channels)]
    noisy = (
        0.5 + 0.35 * np.stack(waves, 2) + rng.normal(0, 0.03, (height, width, channels))
    )
    return np.rint(np.clip(noisy, 0, 1) * (2**bits - 1)).astype(
        np.uint8 if bits == 8 else np.uint16
    )


def difference(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Absolute difference of two pictures of the same kind, in levels."""
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    return np.abs(a.astype(np.float64) - b)
