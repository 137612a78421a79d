"""Pillow image → arrays, for every mode a photo comes in. 16 bits stay 16 bits."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageFile, PsdImagePlugin, TiffImagePlugin

from gpu_worker.codec import colour, jp2, psd
from gpu_worker.codec.unsupported import unsupported
from gpu_worker.photo import Pixels

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

# Tags of a TIFF.
_BITS_TAG, _PHOTOMETRIC_TAG, _PLANAR_TAG, _SAMPLE_FORMAT_TAG = 258, 262, 284, 339
_WHITE_IS_ZERO = 0
_SEPARATE_PLANES = 2
_SAMPLE_FORMATS = {1: "unsigned", 2: "signed", 3: "floating-point"}


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
    without_order = raw[:-1] if raw.endswith(("B", "L", "N")) else raw
    if isinstance(image, PsdImagePlugin.PsdImageFile):
        return _photoshop(image, data)
    if image.format == "JPEG2000":
        return _jpeg2000(image, jp2.bits(data))
    bits = image.info.get("bit_depth", 8)
    if without_order in _DEEP:
        return _deep(image, data, raw, without_order)
    if bits > 8 and image.format == "HEIF":
        return _deep_heif(data, bits)
    if image.mode in ("CMYK", "LAB"):
        return _to_srgb(image, raw)
    if image.mode.startswith("I;16"):
        return _grey16(image)
    if image.mode == "P":
        return _palette(image)
    if image.mode not in _TARGETS:
        raise unsupported(f"pixels of mode {image.mode}")
    return _shallow(image, raw)


def tiff_layout(data: bytes) -> str | None:
    """The pixel layout of a TIFF in words, or None where `data` is no readable TIFF."""
    try:
        ifd = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        file = io.BytesIO(data)
        file.seek(ifd.next)
        ifd.load(file)
        bits = ifd[_BITS_TAG]
        formats = ifd.get(_SAMPLE_FORMAT_TAG, (1,))
        kind = _SAMPLE_FORMATS.get(formats[0], "unknown")
        photometric = ifd[_PHOTOMETRIC_TAG]
        return f"a TIFF of {len(bits)} {kind} samples with {bits[0]} bits (photometric {photometric})"
    except Exception:  # damaged tags: then it is no question of the layout
        return None


def _raw_mode(image: Image.Image) -> str:
    """How the samples lie in the file, in Pillow's words; empty where the decoder does
    not say.
    """
    if not isinstance(image, ImageFile.ImageFile) or not image.tile:
        return ""
    args = image.tile[0].args
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _copied(
    image: Image.Image,
    convert: Callable[[Image.Image], Image.Image] | None = None,
) -> NDArray[Any]:
    """The pixels, (height, width, channels), after `convert`. It is applied band by
    band, so that no second whole picture is ever in memory.
    """
    image.load()
    width, height = image.size
    rows = max(1, _BAND_PIXELS // width)
    result: NDArray[Any] | None = None
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        band = image.crop((0, top, width, bottom))
        converted = convert(band) if convert else band
        array = np.asarray(converted).reshape(bottom - top, width, -1)
        if result is None:
            shape = (height, width, array.shape[2])
            result = np.empty(shape, array.dtype.newbyteorder("="))
        result[top:bottom] = array
    assert result is not None
    return result


def _split(array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Interleaved samples → (pixels, alpha); two or four channels have alpha last."""
    if array.shape[2] in (1, 3):
        return array, None
    pixels = np.ascontiguousarray(array[..., :-1])
    alpha = np.ascontiguousarray(array[..., -1])
    return pixels, alpha


def _keyed(pixels: Pixels, key: object, scale: int = 1) -> Pixels | None:
    """Alpha of a picture in which one exact colour means transparent (PNG's tRNS)."""
    if not isinstance(key, int | tuple):
        return None
    colour = np.array(key, dtype=np.int64)
    wanted = colour.reshape(-1) * scale
    top = np.iinfo(pixels.dtype).max
    alpha = np.full(pixels.shape[:2], top, pixels.dtype)
    is_key = (pixels == wanted).all(axis=2)
    alpha[is_key] = 0
    return alpha


def _shallow(image: Image.Image, raw: str) -> Planes:
    """Modes that Pillow converts to 8-bit grey or RGB."""
    target = _TARGETS[image.mode]
    array = _copied(image, lambda band: band.convert(target))
    pixels, alpha = _split(array)
    if alpha is None:
        key = image.info.get("transparency")
        alpha = _keyed(pixels, key, _KEY_SCALE.get(raw, 1))
    return Planes(pixels, alpha, image.mode)


def _palette(image: Image.Image) -> Planes:
    is_transparent = "transparency" in image.info
    target = "L" if _is_grey(image.getpalette("RGB") or []) else "RGB"
    via = "RGB"
    if is_transparent:
        # Pillow goes from a palette to LA only by way of RGBA.
        target += "A"
        via = "RGBA"

    def convert(band: Image.Image) -> Image.Image:
        return band.convert(via).convert(target)

    pixels, alpha = _split(_copied(image, convert))
    return Planes(pixels, alpha, "P")


def _is_grey(palette: list[int]) -> bool:
    """Whether all colours of a palette, three numbers each, are greys."""
    colours = zip(palette[0::3], palette[1::3], palette[2::3], strict=False)
    return all(red == green == blue for red, green, blue in colours)


def _grey16(image: Image.Image) -> Planes:
    tags = getattr(image, "tag_v2", {})
    pixels: NDArray[Any] = _copied(image).astype(np.uint16, copy=False)
    bits = tags.get(_BITS_TAG, (16,))[0]
    if bits < 16:  # 12-bit scanners: 0…4095 → 0…65535
        low = pixels >> np.uint16(2 * bits - 16)
        pixels <<= np.uint16(16 - bits)
        pixels |= low
    if tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO:
        # Pillow inverts 8-bit pixels only.
        pixels = np.uint16(65535) - pixels
    alpha = _keyed(pixels, image.info.get("transparency"))
    return Planes(pixels, alpha, "I;16")


def _deep(image: Image.Image, data: bytes, raw: str, name: str) -> Planes:
    """16-bit colour, of the raw mode `raw`, which is `name` and a byte order."""
    tags = getattr(image, "tag_v2", {})
    if tags.get(_PLANAR_TAG, 1) == _SEPARATE_PLANES:
        raise unsupported("a 16-bit TIFF with separate colour planes")
    array = _pairs(image) if name == "LA;16" else _halves(image, data, raw, name)
    pixels, alpha = _split(array)
    if name == "RGBa;16" and alpha is not None:
        pixels = _straight(pixels, alpha)
    if alpha is None:
        alpha = _keyed(pixels, image.info.get("transparency"))
    return Planes(pixels, alpha, name)


def _pairs(image: Image.Image) -> NDArray[np.uint16]:
    """16-bit grey with alpha: its four bytes per pixel are read as if they were RGBA."""
    array = _copied(_with_raw(image, "RGBA"))
    return array.view(">u2").astype(np.uint16)


def _halves(
    image: Image.Image,
    data: bytes,
    raw: str,
    name: str,
) -> NDArray[np.uint16]:
    """16-bit RGB with or without alpha, decoded in two halves: Pillow keeps 8 of the
    bits, but the raw mode chooses which.
    """
    # `N` is the machine's byte order, to which libtiff has converted.
    is_machines = raw.endswith("N") and sys.byteorder == "big"
    is_big = raw.endswith("B") or is_machines
    high, low = ("B", "L") if is_big else ("L", "B")
    stored = name.removesuffix(";16").replace("a", "A")
    # RGBX has a fourth sample that means nothing.
    kept = 3 if stored == "RGBX" else _DEEP[name]
    # In place: a second picture of 16 bits would be in memory otherwise.
    array = _eight_bits(image, f"{stored};16{high}", kept).astype(np.uint16)
    array <<= 8
    second = Image.open(io.BytesIO(data), formats=(image.format or "PNG",))
    array |= _eight_bits(second, f"{stored};16{low}", kept)
    return array


def _eight_bits(image: Image.Image, raw: str, kept: int) -> NDArray[np.uint8]:
    """The first `kept` samples of each pixel, decoded by another raw mode."""
    return _copied(_with_raw(image, raw))[..., :kept]


def _with_raw(image: Image.Image, raw: str) -> Image.Image:
    """The image, to be decoded as if its samples lay as `raw` says."""
    assert isinstance(image, ImageFile.ImageFile)
    tile = image.tile[0]
    args = tile.args
    args = (raw, *args[1:]) if isinstance(args, tuple) else raw
    image.tile = [tile._replace(args=args)]
    return image


def _deep_heif(data: bytes, bits: int) -> Planes:
    """10- and 12-bit HEIC: through Pillow it would lose the bits beyond eight."""
    stored = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    array: NDArray[np.uint16] = np.array(stored)
    # The decoder fills up with zeros: white would stay below 65535.
    array |= array >> np.uint16(bits)
    height, width = array.shape[:2]
    pixels, alpha = _split(array.reshape(height, width, -1))
    is_premultiplied = "a;" in stored.mode
    if is_premultiplied and alpha is not None:
        pixels = _straight(pixels, alpha)
    return Planes(pixels, alpha, stored.mode)


def _jpeg2000(image: Image.Image, bits: int) -> Planes:
    if image.mode == "CMYK":
        return _to_srgb(image, "")
    if image.mode == "I;16":
        grey = _grey16(image)
        # The decoder fills up with zeros, as above.
        filled = grey.pixels | grey.pixels >> np.uint16(bits)
        return replace(grey, pixels=filled)
    planes = _palette(image) if image.mode == "P" else _shallow(image, "")
    if bits > 8:
        note = f"the {bits} bits a channel of JPEG 2000 in colour were reduced to 8"
        return replace(planes, notes=(*planes.notes, note))
    return planes


def _photoshop(image: PsdImagePlugin.PsdImageFile, data: bytes) -> Planes:
    """The composite of a Photoshop file, which was opened as if it had 8 bits."""
    is_transparent = psd.has_transparency(image)
    planes = _composite(image, data)
    if planes.alpha is None or is_transparent:
        return planes
    note = "a channel beside the colours, as a selection, was left out"
    return replace(planes, alpha=None, notes=(*planes.notes, note))


def _composite(image: Image.Image, data: bytes) -> Planes:
    is_converted = image.mode in ("CMYK", "LAB")
    if psd.bits(data) == 8:
        if is_converted:
            return _to_srgb(image, "")
        return _palette(image) if image.mode == "P" else _shallow(image, "")
    samples = psd.deep(data)
    if not is_converted:
        pixels, alpha = _split(samples)
        return Planes(pixels, alpha, f"{image.mode};16")
    high = (samples >> 8).astype(np.uint8)
    shallow = Image.frombytes(image.mode, image.size, high.tobytes())
    shallow.info = image.info
    return _to_srgb(shallow, ";16")


def _straight(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Undo premultiplication, row by row to bound memory."""
    result = np.empty_like(pixels)
    top = np.iinfo(pixels.dtype).max
    for y, opacity in enumerate(alpha):
        scale = top / np.maximum(opacity.astype(np.float64), 1)
        levels = np.rint(pixels[y] * scale[:, np.newaxis])
        result[y] = np.minimum(levels, top)
    return result


def _to_srgb(image: Image.Image, raw: str) -> Planes:
    convert, note = colour.to_srgb(image.mode, image.info.get("icc_profile"))
    notes = [note]
    if ";16" in raw:
        notes.append(f"16-bit {image.mode} was reduced to 8 bits per channel")
    pixels = _copied(image, convert)
    return Planes(pixels, None, image.mode, tuple(notes), colour.srgb())
