"""Reduction of a network's output where the scale wanted is less than the network's own.

The official code calls OpenCV's INTER_LANCZOS4, which does not widen its kernel when it
reduces and so lets fine detail alias. Pillow's Lanczos does widen it: as sharp, without
moiré; the two differ slightly where there is detail.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gpu_worker.photo import Pixels
from gpu_worker.pixels import scratch
from gpu_worker.pixels.row_chunks import bands
from shared.runtime.settings import ScratchSettings

LANCZOS_RADIUS = 3
BYTES_PER_SAMPLE = 8
"""Working memory for each sample of the source, roughly."""

Box = tuple[float, float, float, float]


def reduce(pixels: Pixels, size: tuple[int, int], settings: ScratchSettings) -> Pixels:
    """Reduce a picture (h, w, c) to `size` (width, height) [px]; the dtype stays.

    A picture that has this size already is returned as it is.
    """
    width, height = size
    source_height, source_width, channels = pixels.shape
    if (source_width, source_height) == size:
        return pixels
    shape = (height, width, channels)
    canvas = scratch.picture(shape, pixels.dtype, settings)
    factor = source_height / height
    margin = int(np.ceil(LANCZOS_RADIUS * factor)) + 1
    row_bytes = int(source_width * factor * channels * BYTES_PER_SAMPLE)
    for rows in bands(height, row_bytes):
        start = rows.start * factor
        end = rows.stop * factor
        top = max(0, int(start) - margin)
        bottom = int(end) + margin + 1
        source = pixels[top:bottom]
        box = (0.0, start - top, float(source_width), end - top)
        _reduce_into(canvas[rows], source, box)
        scratch.drop(source)
        scratch.drop(canvas[rows])
    return canvas


def _reduce_into(target: Pixels, source: Pixels, box: Box) -> None:
    """Fill `target` with what `box` (left, top, right, bottom) shows of `source`."""
    height, width, channels = target.shape
    top = np.iinfo(target.dtype).max
    # One plane at a time: Pillow has floats for pictures of one channel only.
    for channel in range(channels):
        plane = source[:, :, channel].astype(np.float32)
        reduced = _lanczos(plane, (width, height), box)
        levels = np.clip(reduced, 0, top)
        target[:, :, channel] = np.rint(levels)


def _lanczos(
    plane: NDArray[np.float32],
    size: tuple[int, int],
    box: Box,
) -> NDArray[np.float32]:
    image = Image.fromarray(plane)
    reduced = image.resize(size, Image.Resampling.LANCZOS, box)
    return np.asarray(reduced)
