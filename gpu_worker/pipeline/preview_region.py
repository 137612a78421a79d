"""What a preview shows of its photo: cut out or shrunk right after the decode, and from
there on like any photo.
"""

from __future__ import annotations

from gpu_worker.photo import Photo, Pixels
from gpu_worker.pixels import resample
from shared.errors import Code, PermanentError
from shared.runtime.settings import Settings
from shared.uploads.documents import Glimpse, Region


def glimpse(photo: Photo, asked: Glimpse, settings: Settings) -> Photo:
    """The part or the small version that was asked for. Raises
    `PermanentError(bad_parameter)`: nothing is there.
    """
    if asked.region:
        return _cut(photo, asked.region)
    if asked.max_px is None or max(photo.width, photo.height) <= asked.max_px:
        return photo
    factor = asked.max_px / max(photo.width, photo.height)
    size = max(1, round(photo.width * factor)), max(1, round(photo.height * factor))
    alpha = photo.alpha
    if alpha is not None:
        alpha = _own(resample.reduce(alpha[:, :, None], size, settings)[:, :, 0])
    return photo.with_(
        pixels=resample.reduce(photo.pixels, size, settings), alpha=alpha
    )


def _cut(photo: Photo, region: Region) -> Photo:
    if region.x >= photo.width or region.y >= photo.height:
        detail = f"region begins at {region.x}, {region.y}; the upright photo has {photo.width} x {photo.height} px"
        raise PermanentError(Code.BAD_PARAMETER, detail)
    window = (
        slice(region.y, region.y + region.height),
        slice(region.x, region.x + region.width),
    )
    alpha = None if photo.alpha is None else _own(photo.alpha[window])
    return photo.with_(pixels=_own(photo.pixels[window]), alpha=alpha)


def _own(pixels: Pixels) -> Pixels:
    """A copy, so that the large photo's memory goes."""
    return pixels.copy(order="C")
