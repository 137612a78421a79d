"""An upload's bytes → `Photo`. Nothing here trusts the file: anyone may have sent it."""

from __future__ import annotations

import ctypes
import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PsdImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from gpu_worker.codec import camera_raw, colour, jp2, metadata, modes, psd
from gpu_worker.codec.png_completeness import is_whole
from gpu_worker.codec.unsupported import unsupported
from gpu_worker.photo import Metadata, Photo
from shared.errors import Code, PermanentError
from shared.runtime.settings import CodecSettings
from shared.uploads import tiff_pages

FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "TIFF",
    "BMP",
    "GIF",
    "AVIF",
    "HEIF",
    "JPEG2000",
    "PSD",
)
"""Decoders that an upload can reach; `JPEG` also opens multi-picture files (MPO) of
phones.
"""

# Imported by name: for a format that it misses, Pillow would load every decoder it has,
# EPS and all.
_PLUGINS = (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PsdImagePlugin,
    WebPImagePlugin,
)
# By default there is one thread for each core, and each takes address space.
AvifImagePlugin.DEFAULT_MAX_THREADS = 2
pillow_heif.register_heif_opener(thumbnails=False, decode_threads=1)
# Pillow's own size check warns above one limit and fails above another, through
# process-wide state; ours is exact.
Image.MAX_IMAGE_PIXELS = None
ImageFile.LOAD_TRUNCATED_IMAGES = False
# Pillow reads uncompressed TIFF itself, but 16-bit separate planes wrongly; libtiff
# reads every layout one way.
TiffImagePlugin.READ_LIBTIFF = True
# A scanner's ICC profile in a PNG may exceed Pillow's 1 MiB; what we keep is limited by
# `Limits`.
PngImagePlugin.MAX_TEXT_CHUNK = 16 << 20

_ANIMATED_FORMATS = ("PNG", "WEBP", "GIF", "AVIF")
_ORIENTATION_TAG = 0x0112
_SUBFILE_TAG = 254


@dataclass(frozen=True)
class Limits:
    """What decoding may cost and what it may keep.

    `max_pixels`: width times height in the header. `max_frames`: pictures or pages in
    one file, of which one is decoded.
    """

    max_pixels: int = 120_000_000
    max_metadata_bytes: int = 4 << 20
    keep_gps: bool = False
    max_frames: int = 100
    keep_profile_tags: bool = True

    @classmethod
    def of(cls, settings: CodecSettings) -> Self:
        return cls(
            max_pixels=settings.widest().max_pixels,
            max_metadata_bytes=settings.max_metadata_bytes,
            keep_gps=settings.keep_gps,
            max_frames=settings.max_frames,
            keep_profile_tags=settings.keep_profile_tags,
        )


def decode(data: bytes, limits: Limits, page: int = 1) -> Photo:
    """The photo in `data`: whole, upright, as `Photo` describes. `page`: of a TIFF.

    Raises `PermanentError`: `decode_error`, `unsupported_mode`, `too_many_pixels`,
    `animated`, `page_out_of_range`, `out_of_memory`.
    """
    with _faults(data):
        if camera_raw.is_one(data):
            return camera_raw.developed(data, limits)
        pages = tiff_pages.directories(io.BytesIO(data), limits.max_frames + 1)
        if page > 1:
            data = _beginning_with(data, page, pages)
        is_photoshop = data.startswith(psd.MAGIC)
        file = psd.as_shallow(data) if is_photoshop else data
        image = Image.open(io.BytesIO(file), formats=FORMATS)
        _check(image, data, limits)
        block_notes = _add_blocks(image, data)
        page_notes = _page_notes(image, page, len(pages), limits.max_frames)
        planes = modes.planes(image, data)
        # Pillow turns TIFF pages by itself while loading them, so the tag is read only
        # now.
        orientation = _orientation(image)
        meta, meta_notes = _metadata(image, planes, limits, orientation)
        meta_notes += metadata.manifest_notes(data)
        alpha = planes.alpha
        return Photo(
            pixels=_upright(planes.pixels, orientation),
            alpha=None if alpha is None else _upright(alpha, orientation),
            meta=meta,
            source_mode=planes.source_mode,
            notes=(*page_notes, *block_notes, *planes.notes, *meta_notes),
        )


def _add_blocks(image: Image.Image, data: bytes) -> tuple[str, ...]:
    """Add what the decoder of a format leaves unread to what is known of the image;
    returns notes.
    """
    if image.format == "PSD":
        return psd.add_blocks(image)
    if image.format == "JPEG2000":
        jp2.add_blocks(image, data)
    return ()


def _metadata(
    image: Image.Image,
    planes: modes.Planes,
    limits: Limits,
    orientation: int,
) -> tuple[Metadata, tuple[str, ...]]:
    """The metadata that fit the upright planes, and notes about what was left out."""
    channels = planes.pixels.shape[2]
    kept, notes = metadata.kept(image, channels, limits)
    if kept.dpi and _is_transposed(orientation):
        across, down = kept.dpi
        kept = replace(kept, dpi=(down, across))
    icc = planes.icc or kept.icc
    if icc is None:
        return kept, notes
    return kept.with_icc(icc, colour.greys(icc, channels)), notes


def out_of_memory() -> PermanentError:
    """The error for a photo that needs more memory than decoding may take."""
    detail = "decoding this photo needs more memory than the worker has for it; upload a smaller one"
    return PermanentError(Code.OUT_OF_MEMORY, detail)


@contextmanager
def _faults(data: bytes) -> Iterator[None]:
    """A context that turns whatever a decoder raises into the photo's fault."""
    last_error = _errno()
    last_error.value = 0
    try:
        yield
    except PermanentError:
        raise
    except MemoryError as error:
        raise out_of_memory() from error
    except Exception as error:
        # Libraries whose memory runs out often say nothing but that they cannot decode:
        # the C library knows better.
        if last_error.value == errno.ENOMEM:
            raise out_of_memory() from error
        raise _fault(error, data) from error


def _fault(error: Exception, data: bytes) -> PermanentError:
    if isinstance(error, UnidentifiedImageError):
        layout = modes.tiff_layout(data)
        if layout is not None:
            return unsupported(layout)
        detail = (
            "the file cannot be read as a JPEG, PNG, WebP, TIFF, BMP, GIF, HEIC, AVIF, JPEG 2000 or PSD picture, nor as"
            " camera raw; it may be damaged"
        )
        return PermanentError(Code.DECODE_ERROR, detail)
    # Hostile files make decoders raise nearly anything (seen: OSError, ValueError,
    # TypeError, SyntaxError, KeyError, struct.error): whatever comes out of a decoder
    # is the file's fault, and trying again cannot help.
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    detail = f"the photo is damaged and cannot be decoded to its end ({reason}); upload an intact copy"
    return PermanentError(Code.DECODE_ERROR, detail)


def _errno() -> ctypes.c_int:
    """The C library's `errno` of this thread, or a number of our own where it cannot be
    reached.
    """
    try:
        place = ctypes.CDLL(None).__errno_location
    except AttributeError:
        return ctypes.c_int()
    place.restype = ctypes.POINTER(ctypes.c_int)
    found: ctypes.c_int = place().contents
    return found


def _check(image: Image.Image, data: bytes, limits: Limits) -> None:
    """Raises `PermanentError` for a picture that is not decoded at all, `ValueError`
    for one that is damaged.
    """
    width, height = image.size
    if width * height > limits.max_pixels:
        detail = f"{width} x {height} pixels are more than the limit of {limits.max_pixels:,}; scale the photo down"
        raise PermanentError(Code.TOO_MANY_PIXELS, detail)
    # Of a Photoshop file it would be the question whether all its layers can be read.
    may_be_animated = image.format in _ANIMATED_FORMATS
    if may_be_animated and getattr(image, "is_animated", False):
        detail = f"this {image.format} is an animation; Darkroom restores still photos, upload a single frame"
        raise PermanentError(Code.ANIMATED, detail)
    if image.format == "PNG":
        _check_png(data)


def _check_png(data: bytes) -> None:
    """Raises for a PNG with a wrong checksum or missing rows. Decoding looks at
    neither: a wrong pixel would go unnoticed.
    """
    with Image.open(io.BytesIO(data), formats=("PNG",)) as copy:
        copy.verify()
    if not is_whole(data):
        raise ValueError("rows are missing")


def _beginning_with(data: bytes, page: int, pages: list[int]) -> bytes:
    """The file with the wanted page as its first. Raises
    `PermanentError(page_out_of_range)`.
    """
    if page > len(pages):
        count = max(1, len(pages))
        detail = f"page {page} was asked for, and the file has {count} that can be read; ask for one of them"
        raise PermanentError(Code.PAGE_OUT_OF_RANGE, detail)
    return tiff_pages.beginning_with(data, pages[page - 1])


def _page_notes(
    image: Image.Image, page: int, pages: int, most: int
) -> tuple[str, ...]:
    """Notes about further pictures in the file; they are left out."""
    if image.format == "TIFF":
        _check_first_page(image)
        count = pages
        note = f"the file has {pages} pages; only page {page} was restored"
    elif image.format in ("MPO", "HEIF"):
        count = getattr(image, "n_frames", 1)
        note = "the file has several pictures; only the main one was restored"
    else:
        return ()
    if count > most:
        detail = f"the file holds more than the {most} pictures that DARKROOM_MAX_FRAMES allows; upload one of them"
        raise PermanentError(Code.ANIMATED, detail)
    return (note,) if count > 1 else ()


def _check_first_page(image: Image.Image) -> None:
    subfile = int(image.getexif().get(_SUBFILE_TAG, 0))
    is_reduced = subfile & 1
    if is_reduced:
        raise unsupported(
            "a TIFF that begins with a reduced preview, as camera raw files do"
        )


def _orientation(image: Image.Image) -> int:
    try:
        value = int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # damaged EXIF says nothing about the pixels
        return 1
    return value if 1 <= value <= 8 else 1


def _upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Apply EXIF orientation 1–8 to (height, width, …); the result is C-contiguous."""
    is_mirrored = orientation in (2, 3, 6, 7)
    is_upside_down = orientation in (3, 4, 7, 8)
    if _is_transposed(orientation):
        array = array.swapaxes(0, 1)
    if is_mirrored:
        array = array[:, ::-1]
    if is_upside_down:
        array = array[::-1]
    return np.ascontiguousarray(array)


def _is_transposed(orientation: int) -> bool:
    return orientation >= 5
