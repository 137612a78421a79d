"""ICC profiles for photos that name their colour space in another way: Adobe RGB by
EXIF, gamma and primaries in PNG.

Restoring drops those names, so the space is written as a profile; without one readers
would take it for sRGB.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

_SPACES = {1: b"GRAY", 3: b"RGB "}
_D65 = (0.3127, 0.3290)
_SRGB = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_SRGB_GAMMA = 2.2
_ADOBE_RGB = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_ADOBE_GAMMA = 563 / 256
_D50 = np.array((0.9642, 1.0, 0.8249))
_BRADFORD = np.array(
    ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
)
_HEADER = struct.Struct(">I4sI4s4s4s6H4s4sIIIQIiiI48x")
_HEADER_BYTES = 128
_ENTRY = struct.Struct(">4sII")
_MOST_TAGS = 1000
_REGISTERED = frozenset(
    b"A2B0 A2B1 A2B2 A2B3 B2A0 B2A1 B2A2 B2A3 B2D0 B2D1 B2D2 B2D3 D2B0 D2B1 D2B2 D2B3 "
    b"bTRC bXYZ bfd bkpt calt chad chrm cicp ciis clot clro cprt crdi desc devs dmdd dmnd "
    b"gTRC gXYZ gamt kTRC lumi meas meta ncl2 ncol pre0 pre1 pre2 ps2i ps2s pseq psid psd0 "
    b"psd1 psd2 psd3 rTRC rXYZ resp rig0 rig2 scrd scrn targ tech vcgt view vued wtpt".split()
)
"""Tags of the ICC's specifications, versions 2 to 4.4, and the calibration of displays."""
_VERSION = 0x02100000
_DATE = (2000, 1, 1, 0, 0, 0)

Matrix = NDArray[np.float64]


def fits(icc: bytes | None, channels: int) -> bool:
    """Whether `icc` says that it is a profile for pixels of `channels` channels.
    Nothing else of it is looked at.
    """
    if icc is None:
        return False
    return icc[16:20] == _SPACES[channels] and icc[36:40] == b"acsp"


def without_private_tags(icc: bytes) -> tuple[bytes, str]:
    """The profile with the tags that the ICC's specification names, and the signatures
    of the others, of which there may be none. Raises `ValueError`, `struct.error` or
    `IndexError` for a profile whose table is damaged.
    """
    kept: dict[bytes, bytes] = {}
    left_out = []
    (count,) = struct.unpack_from(">I", icc, _HEADER_BYTES)
    if count > _MOST_TAGS:
        raise ValueError("a profile of too many tags")
    for number in range(count):
        at = _HEADER_BYTES + 4 + number * _ENTRY.size
        tag, start, length = _ENTRY.unpack_from(icc, at)
        if tag in _REGISTERED:
            kept[tag] = icc[start : start + length]
        else:
            left_out.append(tag.decode("ascii", "replace"))
    if not left_out:
        return icc, ""
    body = _tag_table(kept)
    size = struct.pack(">I", _HEADER_BYTES + len(body))
    # The profile's own checksum would be wrong: zeros mean that there is none.
    header = size + icc[4:84] + bytes(16) + icc[100:_HEADER_BYTES]
    return header + body, ", ".join(left_out)


def declared(image: Image.Image, channels: int) -> bytes | None:
    """A profile for the space that `image` declares without one; None for sRGB or where
    nothing is declared.
    """
    if image.format == "PNG":
        return _of_png(image, channels)
    if channels == 3 and _dcf_option(image) == "R03":
        return matrix_profile("Adobe RGB compatible", _D65, _ADOBE_RGB, _ADOBE_GAMMA)
    return None


def matrix_profile(
    name: str,
    white: tuple[float, ...],
    primaries: tuple[float, ...],
    gamma: float,
) -> bytes:
    """An RGB display profile from xy chromaticities and one exponent (pixel value **
    gamma = light).
    """
    columns = _to_d50(white) @ _matrix(white, primaries)
    curve = _curve(gamma)
    tags = {
        b"rXYZ": _xyz(columns[:, 0]),
        b"gXYZ": _xyz(columns[:, 1]),
        b"bXYZ": _xyz(columns[:, 2]),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    return _profile(b"RGB ", name, white, tags)


def grey_profile(name: str, gamma: float) -> bytes:
    """A grey display profile with one exponent."""
    return _profile(b"GRAY", name, _D65, {b"kTRC": _curve(gamma)})


def _of_png(image: Image.Image, channels: int) -> bytes | None:
    info = image.info
    if "srgb" in info or not ("gamma" in info or "chromaticity" in info):
        return None
    gamma = 1 / info["gamma"] if info.get("gamma") else _SRGB_GAMMA
    srgb = (*_D65, *_SRGB)
    places = tuple(info.get("chromaticity") or srgb)
    if len(places) != len(srgb) or not 0.2 <= gamma <= 5:
        return None
    has_srgb_gamma = abs(gamma - _SRGB_GAMMA) < 0.05
    if has_srgb_gamma and np.allclose(places, srgb, atol=0.005):
        return None
    if channels == 1:
        return grey_profile(f"Gamma {gamma:.2f}", gamma)
    return matrix_profile(f"RGB gamma {gamma:.2f}", places[:2], places[2:], gamma)


def _dcf_option(image: Image.Image) -> str:
    """The colour space in the words of cameras: `R03` is Adobe RGB, `R98` sRGB (the
    Design rule for Camera File system).
    """
    interop = image.getexif().get_ifd(ExifTags.IFD.Interop)
    return str(interop.get(1, "")).rstrip("\0 ")


def _matrix(white: tuple[float, ...], primaries: tuple[float, ...]) -> Matrix:
    """Linear RGB → XYZ under the space's own white."""
    red = _light(primaries[0:2])
    green = _light(primaries[2:4])
    blue = _light(primaries[4:6])
    columns = np.stack([red, green, blue], axis=1)
    strengths = np.linalg.solve(columns, _light(white))
    return np.asarray(columns * strengths)


def _light(xy: tuple[float, ...]) -> Matrix:
    x, y = xy
    return np.array((x / y, 1.0, (1 - x - y) / y))


def _to_d50(white: tuple[float, ...]) -> Matrix:
    """The adaptation of XYZ from `white` to D50, by Bradford's method."""
    scale = (_BRADFORD @ _D50) / (_BRADFORD @ _light(white))
    back = np.linalg.inv(_BRADFORD)
    return np.asarray(back @ np.diag(scale) @ _BRADFORD)


def _profile(
    space: bytes,
    name: str,
    white: tuple[float, ...],
    tags: dict[bytes, bytes],
) -> bytes:
    """An ICC 2.1 display profile; always the same bytes for the same space."""
    described = {
        b"desc": _description(name),
        b"cprt": b"text" + bytes(4) + b"Public domain\0",
        b"wtpt": _xyz(_light(white)),
        **tags,
    }
    body = _tag_table(described)
    return _header(space, len(body)) + body


def _description(name: str) -> bytes:
    text = name.encode("ascii") + b"\0"
    length = struct.pack(">I", len(text))
    return b"desc" + bytes(4) + length + text + bytes(78)


def _tag_table(tags: dict[bytes, bytes]) -> bytes:
    """The number of tags, where each lies, and their values, padded to four bytes."""
    table = struct.pack(">I", len(tags))
    start = _HEADER_BYTES + len(table) + _ENTRY.size * len(tags)
    data = b""
    for tag, value in tags.items():
        table += _ENTRY.pack(tag, start + len(data), len(value))
        padding = bytes(-len(value) % 4)
        data += value + padding
    return table + data


def _header(space: bytes, body_bytes: int) -> bytes:
    header = _HEADER.pack(
        _HEADER_BYTES + body_bytes,
        bytes(4),  # no preferred library
        _VERSION,
        b"mntr",
        space,
        b"XYZ ",
        *_DATE,
        b"acsp",
        bytes(4),  # no platform
        0,  # flags
        0,  # manufacturer
        0,  # device
        0,  # attributes
        0,  # perceptual intent
        *_fixed(_D50),
    )
    return header[:_HEADER_BYTES]


def _fixed(values: Matrix) -> list[int]:
    """Numbers as ICC stores them, in units of 1/65536."""
    return [round(float(value) * 65536) for value in values]


def _xyz(values: Matrix) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *_fixed(values))


def _curve(gamma: float) -> bytes:
    exponent = round(gamma * 256)
    return b"curv" + bytes(4) + struct.pack(">IH", 1, exponent)
