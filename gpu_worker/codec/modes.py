"""Pillow image → arrays, for every mode a photo comes in. 16 bits stay 16 bits."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

from gpu_worker.codec import colour
from gpu_worker.photo import Pixels
from shared.errors import Code, PermanentError

_BAND_PIXELS = 1 << 20

# The mode that holds the same picture as grey or RGB, with or without alpha.
_TARGETS = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "La": "LA",
    "RGB": "RGB",
    "RGBX": "RGB",
    "YCbCr": "RGB",
    "RGBA": "RGBA",
    "RGBa": "RGBA",
    "PA": "RGBA",
}
# Raw modes of 16-bit colour, by the number of samples stored per pixel.
_DEEP = {"RGB;16": 3, "RGBX;16": 4, "RGBA;16": 4, "RGBa;16": 4, "LA;16": 2}
# A PNG's transparent grey is given in the file's own bits; Pillow widens the pixels but
# not the key.
_KEY_SCALE = {"1": 255, "L;2": 85, "L;4": 17}


@dataclass(frozen=True)
class Planes:
    """Arrays as in `Photo`, still in the file's orientation. `icc`: set where the
    colours were converted.
    """

    pixels: Pixels
    alpha: Pixels | None
    source_mode: str
    notes: tuple[str, ...] = ()
    icc: bytes | None = None


def planes(image: Image.Image, data: bytes) -> Planes:
    """All pixels of `image` (just opened from `data`). Raises
    `PermanentError(unsupported_mode)`.
    """
    raw = _raw_mode(image)
    deep = raw[:-1] if raw[-1:] in ("B", "L", "N") else raw
    if deep in _DEEP:
        return _deep(image, data, raw, deep)
    if image.info.get("bit_depth", 8) > 8 and image.format == "HEIF":
        return _deep_heif(data, image.info["bit_depth"])
    if image.mode in ("CMYK", "LAB"):
        return _to_srgb(image, raw)
    if image.mode.startswith("I;16"):
        return _grey16(image)
    if image.mode == "P":
        return _palette(image)
    if image.mode not in _TARGETS:
        raise unsupported(f"pixels of mode {image.mode}")
    array = _copied(image, lambda band: band.convert(_TARGETS[image.mode]))
    pixels, alpha = _split(array)
    if alpha is None:
        alpha = _keyed(pixels, image.info.get("transparency"), _KEY_SCALE.get(raw, 1))
    return Planes(pixels, alpha, image.mode)


def unsupported(what: str) -> PermanentError:
    detail = f"{what} cannot be restored; save the photo as 8- or 16-bit grey or RGB with interleaved channels"
    return PermanentError(Code.UNSUPPORTED_MODE, detail)


def tiff_layout(data: bytes) -> str | None:
    """The pixel layout of a TIFF in words, or None where `data` is no readable TIFF."""
    try:
        ifd = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        file = io.BytesIO(data)
        file.seek(ifd.next)
        ifd.load(file)
        bits, kind = (
            ifd[258],
            {1: "unsigned", 2: "signed", 3: "floating-point"}.get(
                ifd.get(339, (1,))[0], "unknown"
            ),
        )
        return f"a TIFF of {len(bits)} {kind} samples with {bits[0]} bits (photometric {ifd[262]})"
    except Exception:  # damaged tags: then it is no question of the layout
        return None


def _raw_mode(image: Image.Image) -> str:
    """How the samples lie in the file, in Pillow's words; empty where the decoder does
    not say.
    """
    args = (
        image.tile[0].args
        if isinstance(image, ImageFile.ImageFile) and image.tile
        else ""
    )
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _copied(
    image: Image.Image, convert: Callable[[Image.Image], Image.Image]
) -> NDArray[Any]:
    """`convert` applied band by band, so that no second whole picture is ever in
    memory. (height, width, channels).
    """
    image.load()
    width, height = image.size
    rows = max(1, _BAND_PIXELS // width)
    result: NDArray[Any] | None = None
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        band = np.asarray(convert(image.crop((0, top, width, bottom))))
        band = band.reshape(bottom - top, width, -1)
        if result is None:
            result = np.empty(
                (height, width, band.shape[2]), band.dtype.newbyteorder("=")
            )
        result[top:bottom] = band
    assert result is not None
    return result


def _split(array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Interleaved samples → (pixels, alpha); two or four channels have alpha last."""
    if array.shape[2] in (1, 3):
        return array, None
    return np.ascontiguousarray(array[..., :-1]), np.ascontiguousarray(array[..., -1])


def _keyed(pixels: Pixels, key: object, scale: int = 1) -> Pixels | None:
    """Alpha of a picture in which one exact colour means transparent (PNG's tRNS)."""
    if not isinstance(key, int | tuple):
        return None
    wanted = np.array(key, dtype=np.int64).reshape(-1) * scale
    top = np.iinfo(pixels.dtype).max
    alpha = np.full(pixels.shape[:2], top, pixels.dtype)
    alpha[(pixels == wanted).all(axis=2)] = 0
    return alpha


def _palette(image: Image.Image) -> Planes:
    transparent = "transparency" in image.info
    grey = all(r == g == b for r, g, b in _triples(image.getpalette("RGB") or []))
    target = ("LA" if grey else "RGBA") if transparent else ("L" if grey else "RGB")
    # Pillow goes from a palette to LA only by way of RGBA.
    pixels, alpha = _split(
        _copied(
            image,
            lambda band: band.convert("RGBA" if transparent else "RGB").convert(target),
        )
    )
    return Planes(pixels, alpha, "P")


def _triples(flat: list[int]) -> zip[tuple[int, int, int]]:
    return zip(flat[0::3], flat[1::3], flat[2::3], strict=False)


def _grey16(image: Image.Image) -> Planes:
    tags = getattr(image, "tag_v2", {})
    pixels: NDArray[Any] = _copied(image, lambda band: band).astype(
        np.uint16, copy=False
    )
    bits = tags.get(258, (16,))[0]
    if bits < 16:  # 12-bit scanners: 0…4095 → 0…65535
        pixels = (pixels << np.uint16(16 - bits)) | (pixels >> np.uint16(2 * bits - 16))
    if tags.get(262) == 0:  # white is zero; Pillow inverts 8-bit pixels only
        pixels = np.uint16(65535) - pixels
    return Planes(pixels, _keyed(pixels, image.info.get("transparency")), "I;16")


def _deep(image: Image.Image, data: bytes, raw: str, name: str) -> Planes:
    """16-bit colour. Pillow keeps 8 of the bits, but can be told which: decode the two
    halves one by one.
    """
    if getattr(image, "tag_v2", {}).get(284, 1) == 2:
        raise unsupported("a 16-bit TIFF with separate colour planes")
    # `N` is the machine's byte order, to which libtiff has converted.
    high, low = (
        ("B", "L")
        if raw[-1] == "B" or (raw[-1] == "N" and sys.byteorder == "big")
        else ("L", "B")
    )
    stored, samples = name.split(";")[0].replace("a", "A"), _DEEP[name]
    array: NDArray[Any]
    if samples == 2:
        array = _pairs(image)
    else:
        kept = 3 if stored == "RGBX" else samples
        array = (
            _copied(_with_raw(image, f"{stored};16{high}"), lambda band: band)[
                ..., :kept
            ].astype(np.uint16)
            << 8
        )
        second = Image.open(io.BytesIO(data), formats=(image.format or "PNG",))
        array |= _copied(_with_raw(second, f"{stored};16{low}"), lambda band: band)[
            ..., :kept
        ]
    pixels, alpha = _split(array)
    if name.startswith("RGBa") and alpha is not None:
        pixels = _straight(pixels, alpha)
    if alpha is None:
        alpha = _keyed(pixels, image.info.get("transparency"))
    return Planes(pixels, alpha, name)


def _with_raw(image: Image.Image, raw: str) -> Image.Image:
    assert isinstance(image, ImageFile.ImageFile)
    tile = image.tile[0]
    args = (raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw
    image.tile = [tile._replace(args=args)]
    return image


def _pairs(image: Image.Image) -> NDArray[np.uint16]:
    """16-bit grey with alpha: its four bytes per pixel are read as if they were RGBA."""
    array = _copied(_with_raw(image, "RGBA"), lambda band: band)
    return array.view(">u2").astype(np.uint16)


def _deep_heif(data: bytes, bits: int) -> Planes:
    """10- and 12-bit HEIC: through Pillow it would lose the bits beyond eight."""
    stored = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    array: NDArray[np.uint16] = np.array(stored)
    # the decoder fills up with zeros: white would stay below 65535
    array |= array >> np.uint16(bits)
    pixels, alpha = _split(array.reshape(*array.shape[:2], -1))
    if "a;" in stored.mode and alpha is not None:
        pixels = _straight(pixels, alpha)
    return Planes(pixels, alpha, stored.mode)


def _straight(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Undo premultiplication, row by row to bound memory."""
    result = np.empty_like(pixels)
    top = np.iinfo(pixels.dtype).max
    for y in range(pixels.shape[0]):
        scale = top / np.maximum(alpha[y].astype(np.float64), 1)
        result[y] = np.minimum(np.rint(pixels[y] * scale[:, None]), top)
    return result


def _to_srgb(image: Image.Image, raw: str) -> Planes:
    convert, note = colour.to_srgb(image.mode, image.info.get("icc_profile"))
    notes = [note]
    if ";16" in raw:
        notes.append("16-bit CMYK was reduced to 8 bits per channel")
    return Planes(
        _copied(image, convert), None, image.mode, tuple(notes), colour.srgb()
    )
