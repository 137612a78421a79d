"""What a preview shows of its photo: cut out or shrunk right after the decode, and from
there on like any photo.
"""

from __future__ import annotations

from gpu_worker.damage.painted import fitted
from gpu_worker.photo import Mask, Photo, Pixels
from gpu_worker.pixels import resample
from shared.errors import Code, PermanentError
from shared.runtime.settings import ScratchSettings
from shared.uploads.documents import PreviewSpec, Region


def preview_region(photo: Photo, spec: PreviewSpec, settings: ScratchSettings) -> Photo:
    """The part or the small version that `spec` asks for. Raises
    `PermanentError(bad_parameter)` where the region lies outside of the photo.
    """
    if spec.region:
        return _cut(photo, spec.region)
    if spec.max_px is None:
        return photo
    longest = max(photo.width, photo.height)
    if longest <= spec.max_px:
        return photo
    factor = spec.max_px / longest
    return _shrink(photo, factor, settings)


def preview_mask(mask: Mask, spec: PreviewSpec, shown: Photo) -> Mask:
    """The part, or the small version, of the whole photo's mask that belongs to the
    preview `shown`.
    """
    if spec.region:
        left, top = spec.region.x, spec.region.y
        return mask[top : top + shown.height, left : left + shown.width].copy()
    return fitted(mask, shown.width, shown.height)


def _shrink(photo: Photo, factor: float, settings: ScratchSettings) -> Photo:
    width = max(1, round(photo.width * factor))
    height = max(1, round(photo.height * factor))
    size = width, height
    pixels = resample.reduce(photo.pixels, size, settings)
    alpha = photo.alpha
    if alpha is not None:
        plane = alpha[:, :, None]
        reduced = resample.reduce(plane, size, settings)
        alpha = _own(reduced[:, :, 0])
    return photo.resized(pixels, alpha)


def _cut(photo: Photo, region: Region) -> Photo:
    if region.x >= photo.width or region.y >= photo.height:
        raise PermanentError(
            Code.BAD_PARAMETER,
            f"region begins at {region.x}, {region.y}; the upright photo has "
            f"{photo.width} x {photo.height} px",
        )
    rows = slice(region.y, region.y + region.height)
    columns = slice(region.x, region.x + region.width)
    pixels = _own(photo.pixels[rows, columns])
    alpha = photo.alpha
    if alpha is not None:
        alpha = _own(alpha[rows, columns])
    return photo.with_(pixels=pixels, alpha=alpha)


def _own(pixels: Pixels) -> Pixels:
    """A copy, so that the large photo's memory can go."""
    return pixels.copy(order="C")
