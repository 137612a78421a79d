"""LaMa fills the holes of a picture: a whole ONNX file, its weights inside, run by ONNX
Runtime on every machine.

The network's side is fixed. A larger window is reduced for it, and only the pixels of
the hole are taken from the result: what is not damaged stays as it is.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from gpu_worker import models
from gpu_worker.engines.base import Floats
from gpu_worker.engines.onnx_session import open_session, providers_of
from gpu_worker.pixels import area, bilinear
from shared.models import Model
from shared.runtime.settings import EngineSettings

SIDE_PX = 512
WHITE = np.float32(255)

Window = NDArray[np.uint8]
Mask = NDArray[np.bool_]


class LamaInpainter:
    """The verified model, ready to fill holes.

    Raises, when it is made, as `gpu_worker.models.verify`, and `Missing` where an
    execution provider of the settings does not start.
    """

    def __init__(self, model: Model, settings: EngineSettings) -> None:
        models.verify(model, settings)
        path = models.locate(model, "weights", settings)
        self.model = model
        self._session = open_session(
            model, str(path), {}, settings, providers_of(settings)
        )

    @property
    def device(self) -> str:
        """`cpu`, or the execution provider that computes."""
        return self._session.device

    def fill(self, window: Window, mask: Mask) -> Window:
        """(h, w, 3) uint8 RGB and (h, w) bool, true in the holes -> the window with its
        holes filled, every other pixel unchanged.

        Raises `OutOfMemory`, and `PermanentError(invalid_output)` when the network
        gives NaN or infinity.
        """
        height, width, _ = window.shape
        if not mask.any():
            return window.copy()
        factor = min(1.0, SIDE_PX / max(height, width))
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        small = _reduced(window, size)
        # A pixel that covers any part of a hole is one.
        holes = _reduced(mask[:, :, np.newaxis].astype(np.uint8) * 255, size) > 0
        filled = self._run(small, holes[:, :, 0])
        if size != (width, height):
            filled = bilinear.rows(filled, (width, height), slice(0, height))
        levels = np.rint(np.clip(filled, 0, WHITE)).astype(np.uint8)
        return np.where(mask[:, :, np.newaxis], levels, window)

    def _run(self, picture: Window, holes: Mask) -> Floats:
        """(h, w, 3) and (h, w), sides up to the network's -> float32 levels."""
        height, width, _ = picture.shape
        below, right = SIDE_PX - height, SIDE_PX - width
        square = np.pad(picture, ((0, below), (0, right), (0, 0)), "symmetric")
        # Beyond the picture nothing is a hole: the mirrored part guides.
        mask = np.pad(holes, ((0, below), (0, right))).astype(np.float32)
        image = square.transpose(2, 0, 1)[np.newaxis] / WHITE
        output = self._session.run(
            image=np.ascontiguousarray(image, np.float32),
            mask=mask[np.newaxis, np.newaxis],
        )
        inside = output[0, :, :height, :width]
        return np.ascontiguousarray(inside.transpose(1, 2, 0))


def _reduced(picture: Window, size: tuple[int, int]) -> Window:
    height, width, _ = picture.shape
    if size == (width, height):
        return picture
    return cast(Window, area.reduce(picture, size))
