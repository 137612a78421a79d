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
_ADOBE_RGB = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_ADOBE_GAMMA = 563 / 256
_D50 = np.array((0.9642, 1.0, 0.8249))
_BRADFORD = np.array(
    ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
)


def fits(icc: bytes | None, channels: int) -> bool:
    """Whether `icc` says that it is a profile for pixels of `channels` channels.
    Nothing else of it is looked at.
    """
    return icc is not None and icc[16:20] == _SPACES[channels] and icc[36:40] == b"acsp"


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
    name: str, white: tuple[float, ...], primaries: tuple[float, ...], gamma: float
) -> bytes:
    """An RGB display profile from xy chromaticities and one exponent (pixel value **
    gamma = light).
    """
    columns = _to_d50(white) @ _matrix(white, primaries)
    tags = {
        b"rXYZ": _xyz(columns[:, 0]),
        b"gXYZ": _xyz(columns[:, 1]),
        b"bXYZ": _xyz(columns[:, 2]),
    }
    curve = _curve(gamma)
    return _profile(
        b"RGB ", name, white, tags | {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    )


def grey_profile(name: str, gamma: float) -> bytes:
    """A grey display profile with one exponent."""
    return _profile(b"GRAY", name, _D65, {b"kTRC": _curve(gamma)})


def _of_png(image: Image.Image, channels: int) -> bytes | None:
    info = image.info
    if "srgb" in info or not ("gamma" in info or "chromaticity" in info):
        return None
    gamma = 1 / info["gamma"] if info.get("gamma") else 2.2
    places = tuple(info.get("chromaticity") or (*_D65, *_SRGB))
    usual = abs(gamma - 2.2) < 0.05 and np.allclose(places, (*_D65, *_SRGB), atol=0.005)
    if usual or not 0.2 <= gamma <= 5 or len(places) != 8:
        return None
    if channels == 1:
        return grey_profile(f"Gamma {gamma:.2f}", gamma)
    return matrix_profile(f"RGB gamma {gamma:.2f}", places[:2], places[2:], gamma)


def _dcf_option(image: Image.Image) -> str:
    """`R03` is how cameras say Adobe RGB, `R98` sRGB (the Design rule for Camera File
    system).
    """
    return str(image.getexif().get_ifd(ExifTags.IFD.Interop).get(1, "")).rstrip("\0 ")


def _matrix(
    white: tuple[float, ...], primaries: tuple[float, ...]
) -> NDArray[np.float64]:
    """Linear RGB → XYZ under the space's own white."""
    columns = np.stack([_light(primaries[i : i + 2]) for i in (0, 2, 4)], axis=1)
    return np.asarray(columns * np.linalg.solve(columns, _light(white)))


def _light(xy: tuple[float, ...]) -> NDArray[np.float64]:
    x, y = xy
    return np.array((x / y, 1.0, (1 - x - y) / y))


def _to_d50(white: tuple[float, ...]) -> NDArray[np.float64]:
    scale = (_BRADFORD @ _D50) / (_BRADFORD @ _light(white))
    return np.asarray(np.linalg.inv(_BRADFORD) @ np.diag(scale) @ _BRADFORD)


def _profile(
    space: bytes, name: str, white: tuple[float, ...], tags: dict[bytes, bytes]
) -> bytes:
    """An ICC 2.1 display profile; always the same bytes for the same space."""
    text = name.encode("ascii") + b"\0"
    described = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78)
    tags = {
        b"desc": described,
        b"cprt": b"text" + bytes(4) + b"Public domain\0",
        b"wtpt": _xyz(_light(white)),
        **tags,
    }
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for tag, value in tags.items():
        table += struct.pack(">4sII", tag, start + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    body = table + data
    header = struct.pack(
        ">I4sI4s4s4s6H4s4sIIIQIiiI48x",
        128 + len(body),
        bytes(4),
        0x02100000,
        b"mntr",
        space,
        b"XYZ ",
        2000,
        1,
        1,
        0,
        0,
        0,
        b"acsp",
        bytes(4),
        0,
        0,
        0,
        0,
        0,
        *_fixed(_D50),
    )
    return header[:128] + body


def _fixed(values: NDArray[np.float64]) -> list[int]:
    return [round(float(v) * 65536) for v in values]


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *_fixed(values))


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
