"""What profiles mean, by a library that was not written for strangers' files: it runs
in the decoder's process only.

So it is imported where it is first used, and `ready` has it loaded before that process
may open no file any more.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from gpu_worker.codec import profiles

if TYPE_CHECKING:
    from PIL import ImageCms

LEVELS = 256
_DATE = bytes((0x07, 0xCE, 0, 2, 0, 9, 0, 6, 0, 49, 0, 0))
"""9 February 1998, the date of the usual sRGB profile."""
_DATE_AT, _ID_AT = slice(24, 36), slice(84, 100)


def ready() -> None:
    """Load and use the library once."""
    greys(srgb(), 3)


def usable(icc: bytes, channels: int) -> bool:
    """Whether pixels can be converted from `icc`. It is tried once where the photo is
    decoded, so that a profile which its library cannot digest shows there.
    """
    if not profiles.fits(icc, channels) or _profile(icc) is None:
        return False
    try:
        mode = _mode(channels)
        convert, _ = to_srgb(mode, icc)
        convert(Image.new(mode, (1, 1)))
    except (OSError, ValueError, TypeError, _cms().PyCMSError):
        return False
    return True


def greys(icc: bytes, channels: int) -> bytes:
    """The sRGB colours of the 256 greys of a usable profile, three bytes each."""
    levels = np.arange(LEVELS, dtype=np.uint8)
    ramp = Image.fromarray(levels[np.newaxis])
    mode = _mode(channels)
    convert, _ = to_srgb(mode, icc)
    return convert(ramp.convert(mode)).tobytes()


@cache
def srgb() -> bytes:
    """An sRGB profile, the same bytes on every day (the library would write the time of
    its making).
    """
    cms = _cms()
    made = cms.ImageCmsProfile(cms.createProfile("sRGB"))
    icc = bytearray(made.tobytes())
    icc[_DATE_AT] = _DATE
    icc[_ID_AT] = bytes(16)  # not calculated
    return bytes(icc)


def to_srgb(
    mode: str,
    icc: bytes | None,
) -> tuple[Callable[[Image.Image], Image.Image], str]:
    """A converter of pictures of `mode` (CMYK, LAB, RGB or L) to RGB in sRGB, and a
    note that says how it goes.
    """
    cms = _cms()
    source = cms.createProfile("LAB") if mode == "LAB" else _profile(icc)
    if source is None:
        note = f"{mode} without a usable profile was converted to RGB by formula"
        return _by_formula, note
    transform = cms.buildTransform(
        source,
        cms.createProfile("sRGB"),
        mode,
        "RGB",
        cms.Intent.RELATIVE_COLORIMETRIC,
        cms.Flags.BLACKPOINTCOMPENSATION,
    )

    def convert(image: Image.Image) -> Image.Image:
        return _applied(image, transform)

    return convert, f"{mode} was converted to sRGB"


def _by_formula(image: Image.Image) -> Image.Image:
    return image.convert("RGB")


def _mode(channels: int) -> str:
    return "L" if channels == 1 else "RGB"


def _applied(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    result: Image.Image | None = _cms().applyTransform(image, transform)
    assert result is not None  # only in-place transforms return nothing
    return result


def _profile(icc: bytes | None) -> ImageCms.ImageCmsProfile | None:
    """The library's view of a profile; None where it cannot read it."""
    if not icc or icc[36:40] != b"acsp":
        return None
    cms = _cms()
    try:
        made: ImageCms.ImageCmsProfile = cms.ImageCmsProfile(io.BytesIO(icc))
    except (OSError, ValueError, TypeError, cms.PyCMSError):
        return None
    return made


def _cms() -> Any:
    return importlib.import_module("PIL.ImageCms")
