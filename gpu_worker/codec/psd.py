"""Photoshop's PSD beyond what the decoder reads: 16 bits a channel, and what the file
says of itself.
"""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PsdImagePlugin

from gpu_worker.codec.unsupported import unsupported

MAGIC = b"8BPS"
_WIDTH, _BITS, _COLOURS = slice(18, 22), slice(22, 24), slice(24, 26)
_NAMES = {0: "bitmap", 7: "multichannel", 8: "duotone"}
_DUOTONE = 8
_RESOLUTION, _IPTC, _VERSION, _EXIF, _XMP = 1005, 1028, 1057, 1058, 1060
"""Numbers of Photoshop's resources."""
_DEPTHS = (8, 16)


def bits(data: bytes) -> int:
    """Bits a channel."""
    return int.from_bytes(data[_BITS], "big")


def as_shallow(data: bytes) -> bytes:
    """The file as if it had 8 bits, which the decoder opens; its pixels mean nothing.

    Raises `PermanentError(unsupported_mode)` for a file that cannot be restored.
    """
    colours = int.from_bytes(data[_COLOURS], "big")
    if bits(data) not in _DEPTHS:
        raise unsupported(f"a Photoshop file with {bits(data)} bits a channel")
    if colours in _NAMES and colours != _DUOTONE:
        raise unsupported(f"a {_NAMES[colours]} Photoshop file")
    return _with(data, _BITS, 8)


def deep(data: bytes) -> NDArray[np.uint16]:
    """The samples of a file with 16 bits a channel, (height, width, channels).

    To the decoder it is one of 8 bits and twice the width.
    """
    width = int.from_bytes(data[_WIDTH], "big")
    wide = _with(as_shallow(data), _WIDTH, 2 * width)
    with Image.open(io.BytesIO(wide), formats=("PSD",)) as image:
        halves = np.asarray(image)
    halves = halves.reshape(*halves.shape[:2], -1)
    samples = halves[:, 0::2].astype(np.uint16)
    samples <<= 8
    samples |= halves[:, 1::2]
    return samples


def add_blocks(image: Image.Image) -> tuple[str, ...]:
    """Add resolution, EXIF, XMP and IPTC-IIM of the file to what is known of the image.

    Returns notes. Raises `PermanentError(unsupported_mode)` for a file without a
    composite picture.
    """
    assert isinstance(image, PsdImagePlugin.PsdImageFile)
    resources = {number: block for number, _, block in image.resources}
    version = resources.get(_VERSION, b"")
    if len(version) > 4 and not version[4]:
        raise unsupported(
            "a Photoshop file that was saved without its composite (Maximize Compatibility)"
        )
    if len(resources.get(_RESOLUTION, b"")) >= 12:
        across, _, _, down = struct.unpack_from(">IHHI", resources[_RESOLUTION])
        image.info["dpi"] = (across / 65536, down / 65536)
    if _EXIF in resources:
        image.info["exif"] = b"Exif\0\0" + resources[_EXIF]
    if _XMP in resources:
        image.info["xmp"] = resources[_XMP]
    if _IPTC in resources:
        image.info["photoshop"] = {_IPTC: resources[_IPTC]}
    if has_layers(image):
        return ("the file's layers were left out; its composite was restored",)
    return ()


def has_layers(image: PsdImagePlugin.PsdImageFile) -> bool:
    """Whether the file has more than its composite."""
    return _layer_count(image) != 0


def has_transparency(image: PsdImagePlugin.PsdImageFile) -> bool:
    """Whether the channel behind the colours is the composite's opacity, and not a
    selection that somebody kept.
    """
    return _layer_count(image) < 0


def _layer_count(image: PsdImagePlugin.PsdImageFile) -> int:
    """How many layers there are; below zero where the composite is transparent."""
    position = image._layers_position
    if position is None or image.fp is None:
        return 0
    here = image.fp.tell()
    image.fp.seek(position)
    count = int.from_bytes(image.fp.read(2), "big", signed=True)
    image.fp.seek(here)
    return count


def _with(data: bytes, where: slice, value: int) -> bytes:
    number = value.to_bytes(where.stop - where.start, "big")
    return b"".join((data[: where.start], number, memoryview(data)[where.stop :]))
