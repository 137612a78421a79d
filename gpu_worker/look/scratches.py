"""How many scratches, creases and tears a photo certainly has."""

from __future__ import annotations

from gpu_worker.damage import detection
from gpu_worker.look.samples import fitting
from gpu_worker.photo import Pixels
from gpu_worker.pixels import area
from shared.runtime.settings import ScratchSettings

SIDE_PX = 1024
CERTAIN = 0.0
"""Sensitivity at which neither wires nor the legs of a tripod count as scratches."""


def scratches(pixels: Pixels, settings: ScratchSettings) -> int:
    """The lines of damage in a photo (h, w, 1 or 3), looked for in a reduced one."""
    small = area.reduce(pixels, fitting(pixels, SIDE_PX))
    return detection.find(small, CERTAIN, settings).certain
