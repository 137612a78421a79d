"""A decoded photo: what every step takes and gives."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
Depth = np.dtype[np.uint8] | np.dtype[np.uint16]


def top_level(dtype: Depth) -> np.float32:
    """The level of white: the largest value that the type of pixels has."""
    return np.float32(np.iinfo(dtype).max)


@dataclass(frozen=True)
class Metadata:
    """What a photo carries beside its pixels and keeps through restoration.

    `greys`: the sRGB colours of the profile's 256 greys, three bytes each; None for a
    photo without a profile.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    greys: bytes | None = None

    def with_icc(self, icc: bytes | None, greys: bytes | None = None) -> Metadata:
        """The same metadata with another profile, or with none."""
        return replace(self, icc=icc, greys=greys)


@dataclass(frozen=True)
class Photo:
    """Upright pixels with their metadata.

    `pixels`: (height, width, channels), uint8 or uint16 over the type's full range,
    C-contiguous; channels is 1 (grey) or 3 (RGB order), gamma-encoded in the space of
    `meta.icc` (sRGB without one). `alpha`: (height, width), same dtype, straight (not
    premultiplied), or None. The EXIF orientation is already applied. `source_mode`: the
    file's own mode, in Pillow's words. `notes`: what a reader of the record should
    know, each a sentence.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    meta: Metadata = field(default_factory=Metadata)
    source_mode: str = "RGB"
    notes: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    def with_(self, **changes: Any) -> Photo:
        """The same photo with some fields replaced."""
        return replace(self, **changes)
