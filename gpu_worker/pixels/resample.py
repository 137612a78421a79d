"""Reduction of a model's output where less than its own scale was asked for.

The official code calls OpenCV's INTER_LANCZOS4, which does not widen its kernel when it
reduces and so lets fine detail alias. Pillow's Lanczos does widen it: as sharp, without
moiré; the two differ slightly where there is detail.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from gpu_worker.photo import Pixels
from gpu_worker.pixels import scratch
from gpu_worker.pixels.row_chunks import bands
from shared.runtime.settings import Settings

LANCZOS_RADIUS = 3


def reduce(pixels: Pixels, size: tuple[int, int], settings: Settings) -> Pixels:
    """(h, w, c) -> `size` (width, height) [px], same dtype; the very same array when it
    has that size already.
    """
    width, height = size
    source_height, source_width, channels = pixels.shape
    if (source_width, source_height) == size:
        return pixels
    canvas: Any = scratch.allocate((height, width, channels), pixels.dtype, settings)
    factor = source_height / height
    margin = int(np.ceil(LANCZOS_RADIUS * factor)) + 1
    for rows in bands(height, int(source_width * factor * channels * 8)):
        top = max(0, int(rows.start * factor) - margin)
        source = pixels[top : int(rows.stop * factor) + margin + 1]
        box = (
            0.0,
            rows.start * factor - top,
            float(source_width),
            rows.stop * factor - top,
        )
        for channel in range(channels):
            plane = Image.fromarray(source[:, :, channel].astype(np.float32))
            reduced = plane.resize(
                (width, rows.stop - rows.start), Image.Resampling.LANCZOS, box
            )
            canvas[rows, :, channel] = np.rint(
                np.clip(np.asarray(reduced), 0, np.iinfo(pixels.dtype).max)
            )
        scratch.drop(source)
        scratch.drop(canvas[rows])
    return canvas  # type: ignore[no-any-return]
