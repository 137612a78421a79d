"""A draft: what is done so far of a photo, as a small picture that is transparent where
nothing is done yet.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gpu_worker.codec import profiles
from gpu_worker.codec.png import XMP_KEYWORD
from gpu_worker.codec.preview import labelled
from gpu_worker.photo import Metadata, Pixels
from gpu_worker.pixels import scratch
from shared.runtime.settings import LabelSettings

MAX_PX = 1024
_QUALITY = 70
_METHOD = 2
"""Of WebP's seven it is a quick one: nobody keeps a draft."""


class Draft:
    """A small picture of canvases of this shape (height, width, channels), of which
    nothing is shown yet.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        height, width, channels = shape
        self._is_grey = channels == 1
        self._factor = -(-max(width, height) // MAX_PX)
        size = (-(-height // self._factor), -(-width // self._factor))
        self._colours: NDArray[np.uint8] = np.zeros((*size, 3), np.uint8)
        self._alpha: NDArray[np.uint8] = np.zeros(size, np.uint8)

    def show(self, canvas: Pixels, rows: slice, columns: slice) -> None:
        """Take over a part of a canvas. It is read in steps, so that a part of any
        size costs little memory.
        """
        step = max(1, self._factor // 2)
        part = canvas[rows, columns][::step, ::step]
        image = Image.fromarray(_rgb(part))
        scratch.drop(canvas[rows])
        down, across = self._place(rows), self._place(columns)
        size = (across.stop - across.start, down.stop - down.start)
        small = image.resize(size, Image.Resampling.BOX)
        self._colours[down, across] = np.asarray(small)
        self._alpha[down, across] = 255

    def to_webp(
        self, meta: Metadata, settings: LabelSettings, text: Mapping[str, str]
    ) -> bytes:
        """WebP in the colours of the photo's profile, with the visible label where
        previews have it, and the XMP packet of `text`.
        """
        image = Image.fromarray(np.dstack((self._colours, self._alpha)))
        if settings.label_preview:
            image = labelled(image, settings.label_text)
        icc = b"" if self._is_grey or not profiles.fits(meta.icc, 3) else meta.icc
        file = io.BytesIO()
        xmp = text.get(XMP_KEYWORD, "").encode()
        image.save(
            file, "WEBP", quality=_QUALITY, method=_METHOD, xmp=xmp, icc_profile=icc
        )
        return file.getvalue()

    def _place(self, part: slice) -> slice:
        """Where a part of the canvas lies in the small picture."""
        return slice(part.start // self._factor, -(-part.stop // self._factor))


def _rgb(pixels: Pixels) -> NDArray[np.uint8]:
    """Pixels of 1 or 3 channels in 8 bits, as a contiguous array of 3."""
    eight_bits = pixels
    if pixels.dtype == np.uint16:
        eight_bits = (pixels >> 8).astype(np.uint8)
    if pixels.shape[2] == 1:
        return np.repeat(eight_bits, 3, axis=2).astype(np.uint8)
    return np.ascontiguousarray(eight_bits, np.uint8)
