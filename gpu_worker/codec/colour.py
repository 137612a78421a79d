"""Colour spaces: which ICC profile fits which pixels, and the way to sRGB where pixels cannot stay in their own."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache

from PIL import Image, ImageCms

_SPACES = {1: b"GRAY", 3: b"RGB "}
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC


def fits(icc: bytes, channels: int) -> bool:
    """Whether `icc` is a profile for pixels of `channels` channels (1 grey, 3 RGB)."""
    return icc[16:20] == _SPACES[channels] and _profile(icc) is not None


def usable(icc: bytes, channels: int) -> bool:
    """Whether pixels can be converted from `icc`: asked once where the photo is decoded, so that a profile which its
    library cannot digest shows there.
    """
    if not fits(icc, channels):
        return False
    try:
        mode = "L" if channels == 1 else "RGB"
        to_srgb(mode, icc)[0](Image.new(mode, (1, 1)))
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError):
        return False
    return True


@cache
def srgb() -> bytes:
    """An sRGB profile, the same bytes on every day (the library would write the time of its making)."""
    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    made[24:36] = bytes((0x07, 0xCE, 0, 2, 0, 9, 0, 6, 0, 49, 0, 0))
    made[84:100] = bytes(16)  # profile id: not calculated
    return bytes(made)


def to_srgb(mode: str, icc: bytes | None) -> tuple[Callable[[Image.Image], Image.Image], str]:
    """A converter of pictures of `mode` (CMYK, LAB, RGB or L) to RGB in sRGB, and a note that says how it goes."""
    source = ImageCms.createProfile("LAB") if mode == "LAB" else _profile(icc)
    if source is None:
        return lambda image: image.convert("RGB"), f"{mode} without a usable profile was converted to RGB by formula"
    transform = ImageCms.buildTransform(
        source, ImageCms.createProfile("sRGB"), mode, "RGB", _INTENT, ImageCms.Flags.BLACKPOINTCOMPENSATION
    )
    return lambda image: _applied(image, transform), f"{mode} was converted to sRGB"


def _applied(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    result = ImageCms.applyTransform(image, transform)
    assert result is not None  # only in-place transforms return nothing
    return result


def _profile(icc: bytes | None) -> ImageCms.ImageCmsProfile | None:
    if not icc or icc[36:40] != b"acsp":
        return None
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(icc))
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError):
        return None
