"""Camera raw (DNG, CR2, NEF, ARW, PEF, SRW), developed by LibRaw into sRGB.

The development is always the same, and the record names it: white balance as the camera
saw it, adaptive homogeneity-directed demosaicing, sRGB's own curve, and no brightening,
which would depend on the whole picture.
"""

from __future__ import annotations

import io
import struct
from typing import Any, Protocol

import numpy as np
from PIL import Image

from gpu_worker.codec import metadata
from gpu_worker.codec.unsupported import unsupported
from gpu_worker.photo import Photo
from shared.errors import Code, PermanentError
from shared.runtime.installation import how_to_add
from shared.uploads.camera_raw import is_camera_raw

rawpy: Any
try:
    # Here, not when a photo comes: a confined process opens no file.
    # LibRaw's binding imports it for the first photo, when no file may be opened.
    import multiprocessing  # noqa: F401

    import rawpy
except ImportError:
    rawpy = None

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_XMP_TAG = 700
_SHORT = 3
_MOST_TAGS = 4096
_SRGB_CURVE = (2.4, 12.92)
"""Its exponent, and its slope where it is straight."""
_WAY_OUT = f"{how_to_add('raw')}, or save the photo as TIFF"


class RawLimits(metadata.MetadataLimits, Protocol):
    """What may be decoded, and kept; `decode.Limits` says it."""

    @property
    def max_pixels(self) -> int: ...


def is_one(data: bytes) -> bool:
    """Whether the file is camera raw, by its first directory."""
    return is_camera_raw(bytes(data[:16]), _first_tags(data))


def _first_tags(data: bytes) -> dict[int, int]:
    """The values of the file's first directory, as of single integers; none of what is
    no TIFF.
    """
    order = _ORDERS.get(bytes(data[:4]))
    if order is None:
        return {}
    tags: dict[int, int] = {}
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        for place in range(at + 2, at + 2 + 12 * min(count, _MOST_TAGS), 12):
            tag, kind = struct.unpack_from(f"{order}HH", data, place)
            form = "H" if kind == _SHORT else "I"
            (value,) = struct.unpack_from(order + form, data, place + 8)
            tags.setdefault(tag, value)
    except struct.error:
        return {}
    return tags


def developed(data: bytes, limits: RawLimits) -> Photo:
    """The photo (h, w, 3), 16 bits, upright. Raises
    `PermanentError`: `unsupported_mode` where LibRaw is not installed or finds nothing
    that a sensor saw, `too_many_pixels`; and what LibRaw raises for a damaged file.
    """
    if rawpy is None:
        detail = f"camera raw is developed by LibRaw, which this worker does not have; {_WAY_OUT}"
        raise PermanentError(Code.UNSUPPORTED_MODE, detail)
    with _opened(data) as raw:
        sizes = raw.sizes
        count = sizes.raw_width * sizes.raw_height
        if count > limits.max_pixels:
            detail = f"{sizes.raw_width} x {sizes.raw_height} pixels are more than the limit of {limits.max_pixels:,}"
            raise PermanentError(Code.TOO_MANY_PIXELS, detail)
        is_balanced = raw.camera_whitebalance[0] > 0
        pixels = raw.postprocess(
            output_bps=16,
            use_camera_wb=is_balanced,
            no_auto_bright=True,
            gamma=_SRGB_CURVE,
            demosaic_algorithm=rawpy.DemosaicAlgorithm.AHD,
            output_color=rawpy.ColorSpace.sRGB,
        )
    balance = "as the camera saw it" if is_balanced else "for daylight"
    version = ".".join(str(number) for number in rawpy.libraw_version)
    note = (
        f"developed from camera raw by LibRaw {version}: white balance {balance}, demosaicing AHD, "
        "colours sRGB, no automatic brightening"
    )
    meta, notes = metadata.kept(_carrier(data), 3, limits)
    return Photo(
        np.ascontiguousarray(pixels),
        meta=meta,
        source_mode="CFA",
        notes=(note, *notes),
    )


def _opened(data: bytes) -> Any:
    """The file as LibRaw has it, to be closed."""
    try:
        return rawpy.imread(io.BytesIO(data))
    except rawpy.LibRawFileUnsupportedError as error:
        raise unsupported(
            "camera raw in which LibRaw finds no sensor's picture that it knows"
        ) from error


def _carrier(data: bytes) -> Image.Image:
    """A picture with the EXIF and XMP of the file, which is laid out as EXIF is."""
    carrier = Image.new("RGB", (1, 1))
    carrier.info["exif"] = bytes(data)
    xmp = carrier.getexif().get(_XMP_TAG)
    if isinstance(xmp, bytes):
        carrier.info["xmp"] = xmp
    return carrier
