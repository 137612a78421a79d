"""What a JP2 file carries beside its pixels, which the decoder does not read."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from PIL import Image

EXIF = bytes.fromhex("4a706754696666457869662d3e4a5032")
XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_IIM = bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")
"""Types of the boxes that hold these."""
_IPTC_RESOURCE = 0x0404
_PROFILES = (2, 3)
"""Ways in which a `colr` box holds a whole colour profile."""
_MOST_BOXES = 1000
_ENCODERS = (b"Created by OpenJPEG", b"Kakadu-")
_SIZ = b"\xff\x4f\xff\x51"
_BITS_AT = 42
"""Where, behind the beginning of a codestream, the depth of its first component is."""


def add_blocks(image: Image.Image, data: bytes) -> None:
    """Add profile, EXIF, XMP and IPTC-IIM of the file to what is known of the image."""
    comment = image.info.get("comment")
    if isinstance(comment, bytes) and comment.startswith(_ENCODERS):
        del image.info["comment"]  # its encoder's name is nobody's words
    for name, content in _boxes(data):
        if name == b"jp2h":
            _add_profile(image, content)
        elif name == b"uuid":
            kind, block = content[:16], content[16:]
            if kind == EXIF:
                image.info["exif"] = b"Exif\0\0" + block
            elif kind == XMP:
                image.info["xmp"] = block
            elif kind == _IIM:
                image.info["photoshop"] = {_IPTC_RESOURCE: block}


def bits(data: bytes) -> int:
    """Bits of the first component."""
    at = data.find(_SIZ) + _BITS_AT
    return (data[at] & 0x7F) + 1 if at < len(data) else 8


def _add_profile(image: Image.Image, header: bytes) -> None:
    for name, content in _boxes(header):
        if name == b"colr" and content[:1] and content[0] in _PROFILES:
            image.info["icc_profile"] = content[3:]
            return


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each box, as far as they can be read."""
    at = 0
    for _ in range(_MOST_BOXES):
        if at + 8 > len(data):
            return
        size, name = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1:
            size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        end = at + size if size else len(data)
        if end < start:
            return
        # Of the codestream, which is most of the file, nobody needs a copy.
        yield name, b"" if name == b"jp2c" else data[start:end]
        at = end
