"""Copies of a result to hand out: JPEG, WebP, AVIF and JP2 in 8 bits, and TIFF.

A JPEG or a TIFF of any size is made in bounded memory: the 8-bit picture lies in a
scratch file, and the encoder reads it row by row. The encoders of WebP, AVIF and JP2 need
the whole picture, so their size is limited.
"""

from __future__ import annotations

from typing import IO, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from gpu_worker.codec import exif, profiles
from gpu_worker.codec.jp2_writer import write_jp2
from gpu_worker.codec.preview import Converter
from gpu_worker.codec.tiff_writer import MOST_BYTES, write_tiff
from gpu_worker.photo import Photo, Pixels
from gpu_worker.pixels import scratch
from shared.runtime.heartbeat import own
from shared.runtime.settings import CopySettings
from shared.uploads.formats import FileFormat

_BAND_BYTES = 8 << 20
_GRID = 64
_GRID_SIDE = 512
"""The grid of `_GRID` levels of each colour, as a square picture."""
_MOST_DPI = 65_535


class _Room(NamedTuple):
    """The largest picture that a format takes: a side, and all pixels."""

    side: int
    pixels: int


_ROOM = {
    "jpeg": _Room(65_500, 65_500**2),
    "webp": _Room(16_383, 40_000_000),
    "avif": _Room(65_500, 40_000_000),
    "jp2": _Room(65_500, 100_000_000),
}


def obstacle(photo: Photo, file_format: FileFormat) -> str | None:
    """Why there can be no copy of `photo` in a format, as a sentence; None: there can."""
    width, height = photo.width, photo.height
    if file_format == "jp2" and photo.pixels.dtype != np.uint8:
        return (
            "no JP2 copy was made: it holds 8 bits, and the result has 16; ask for tiff"
        )
    room = _ROOM.get(file_format)
    if room is None:
        if photo.pixels.nbytes <= MOST_BYTES // 2:
            return None
    elif max(width, height) <= room.side and width * height <= room.pixels:
        return None
    return f"no {file_format.upper()} copy was made: {width} x {height} px are too many for one"


def write_copy(
    photo: Photo,
    file_format: FileFormat,
    out: IO[bytes],
    xmp: str,
    settings: CopySettings,
    converter: Converter | None,
) -> None:
    """Write `photo` into an empty file, with its captions, resolution and EXIF.

    Its colours are those of its profile, or sRGB where `copy_profile` says so; a TIFF
    always keeps the profile, and its 16 bits. What is transparent is white in a JPEG. A
    JP2 is without loss.
    """
    if file_format == "tiff":
        write_tiff(photo, out, xmp, photo.meta.icc)
        return
    icc = photo.meta.icc
    table = None
    if icc and settings.copy_profile == "srgb":
        table = srgb_table(photo, icc, converter)
        icc = None if table else icc
    image, array = _picture(photo, file_format, table, settings)
    fitting = icc if icc and profiles.fits(icc, photo.pixels.shape[2]) else None
    block = exif.block(photo.meta)
    if file_format == "jp2":
        write_jp2(
            image.convert("RGB") if image.mode == "RGBX" else image,
            out,
            xmp,
            exif=block,
            icc=fitting,
            dpi=photo.meta.dpi,
            folder=settings.scratch_dir,
        )
        return
    options: dict[str, Any] = {"quality": settings.copy_quality}
    if file_format == "jpeg":
        options |= {"subsampling": 0, "dpi": _whole_dpi(photo)}
    if file_format == "avif":
        options["speed"] = 8
    if fitting:
        options["icc_profile"] = fitting
    if block:
        options["exif"] = b"Exif\0\0" + block
    kept = {name: value for name, value in options.items() if value is not None}
    file = cast(IO[bytes], _Plain(out, array))
    image.save(file, file_format.upper(), xmp=xmp.encode(), **kept)


class _Plain:
    """A file that an encoder writes to by Python alone, so that a full disk is told as
    such. After each piece the pages of the picture that were read are released.
    """

    def __init__(self, file: IO[bytes], picture: Pixels) -> None:
        self._file = file
        self._picture = picture

    def write(self, data: bytes) -> int:
        scratch.drop(self._picture)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _whole_dpi(photo: Photo) -> tuple[int, int] | None:
    """A JPEG's resolution; None where it cannot say it."""
    if photo.meta.dpi is None:
        return None
    across, down = (round(each) for each in photo.meta.dpi)
    return (
        (across, down)
        if 1 <= min(across, down) <= max(across, down) <= _MOST_DPI
        else None
    )


def _picture(
    photo: Photo,
    file_format: FileFormat,
    table: ImageFilter.Color3DLUT | NDArray[np.uint8] | None,
    settings: CopySettings,
) -> tuple[Image.Image, Pixels]:
    """The photo in 8 bits, and the scratch memory that it lies on and Pillow uses as it
    is.
    """
    has_alpha = photo.alpha is not None and file_format != "jpeg"
    is_grey = photo.pixels.shape[2] == 1 and not has_alpha and table is None
    mode = "L" if is_grey else "RGBA" if has_alpha else "RGBX"
    depth = 1 if is_grey else 4
    shape = (photo.height, photo.width, depth)
    array = scratch.picture(shape, np.dtype(np.uint8), settings)
    rows = max(1, _BAND_BYTES // (photo.width * depth))
    for top in range(0, photo.height, rows):
        own().beat()
        band = slice(top, min(top + rows, photo.height))
        colours = coloured(eight_bits(photo.pixels[band]), table)
        opacity = None if photo.alpha is None else eight_bits(photo.alpha[band])
        if opacity is not None and not has_alpha:
            colours = on_white(colours, opacity)
        array[band, :, : min(3, depth)] = colours
        if depth == 4:
            array[band, :, 3] = 255 if opacity is None else opacity
        scratch.drop(array[band])
        scratch.drop_rows(photo, band.start, band.stop)
    size = (photo.width, photo.height)
    return Image.frombuffer(mode, size, array, "raw", mode, 0, 1), array


def eight_bits(block: NDArray[Any]) -> NDArray[np.uint8]:
    if block.dtype == np.uint8:
        return block
    return ((block.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def coloured(
    block: NDArray[np.uint8],
    table: ImageFilter.Color3DLUT | NDArray[np.uint8] | None,
) -> NDArray[np.uint8]:
    if isinstance(table, ImageFilter.Color3DLUT):
        return np.asarray(Image.fromarray(block).filter(table))
    if table is not None:
        return table[block[..., 0]]
    return block


def on_white(block: NDArray[np.uint8], opacity: NDArray[np.uint8]) -> NDArray[np.uint8]:
    weight = opacity[..., np.newaxis].astype(np.uint16)
    blended = (block * weight + 255 * (255 - weight) + 127) // 255
    return blended.astype(np.uint8)


def srgb_table(
    photo: Photo, icc: bytes, converter: Converter | None
) -> ImageFilter.Color3DLUT | NDArray[np.uint8] | None:
    """What brings 8-bit colours to sRGB; None where that is not known. The profile is
    read by the decoder's process alone, which converts a grid of colours.
    """
    channels = photo.pixels.shape[2]
    if not profiles.fits(icc, channels):
        return None
    if channels == 1:
        greys = photo.meta.greys
        return None if greys is None else np.frombuffer(greys, np.uint8).reshape(-1, 3)
    if converter is None:
        return None
    levels = np.rint(np.linspace(0, 255, _GRID)).astype(np.uint8)
    blue, green, red = np.meshgrid(levels, levels, levels, indexing="ij")
    grid = np.stack((red, green, blue), axis=-1)
    square = np.ascontiguousarray(grid.reshape(_GRID_SIDE, _GRID_SIDE, 3))
    converted = converter.to_srgb(square, icc)
    if converted is square:
        return None
    numbers = converted.reshape(-1).astype(np.float32) / 255
    return ImageFilter.Color3DLUT(_GRID, numbers)
