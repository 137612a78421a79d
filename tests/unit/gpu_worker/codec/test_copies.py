"""Copies to hand out: the same picture, words and print size in every format."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from gpu_worker.codec import (
    XMP_KEYWORD,
    Decoder,
    copies,
    obstacle,
    profiles,
    texts,
    write_copy,
)
from gpu_worker.codec.colour import srgb
from gpu_worker.photo import Metadata, Photo
from shared.runtime.settings import Settings
from shared.uploads.formats import EXTENSIONS, FileFormat
from tests.support.captioned import CAPTION, captioned, words_of
from tests.support.codec_samples import noise, workflow
from tests.support.extras import needs_program
from tests.support.pictures import photo_like

FORMATS: list[FileFormat] = ["jpeg", "webp", "avif", "tiff"]
P3 = profiles.matrix_profile(
    "Display P3",
    (0.3127, 0.3290),
    (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    2.2,
)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    made = Decoder(Settings())
    yield made
    made.close()


def _copy(photo: Photo, file_format: FileFormat, **options: Any) -> bytes:
    xmp = texts("t", workflow("upscale"), words=photo.meta.captions)[XMP_KEYWORD]
    converter = options.pop("converter", None)
    file = io.BytesIO()
    settings = Settings(copy_quality=95, **options)
    write_copy(photo, file_format, file, xmp, settings, converter)
    return file.getvalue()


def _smooth(height: int = 64, width: int = 96) -> np.ndarray[Any, Any]:
    rows, columns = np.mgrid[0:height, 0:width]
    planes = (rows * 3, columns * 2, rows + columns)
    return np.stack(planes, axis=2).astype(np.uint8)


@pytest.mark.parametrize("file_format", FORMATS)
def test_words_and_print_size_are_in_every_copy(
    file_format: FileFormat, tmp_path: Path, decoder: Decoder
) -> None:
    needs_program("exiftool", "libimage-exiftool-perl")
    photo = decoder.decode(captioned("JPEG"))
    doubled = photo.resized(photo.pixels.repeat(2, 0).repeat(2, 1), None)
    file = tmp_path / f"copy.{EXTENSIONS[file_format]}"
    file.write_bytes(_copy(doubled, file_format))
    words = words_of(file)
    assert words["XMP-dc:Description"] == CAPTION
    assert words["XMP-iptcExt:AISystemUsed"].startswith("Darkroom")
    assert (words["IFD0:XResolution"], words["IFD0:YResolution"]) == (600, 600)
    assert words["IFD0:ResolutionUnit"] == "inches"
    assert words["IFD0:Artist"] == "V. Maier"
    if file_format == "jpeg":
        assert (words["JFIF:XResolution"], words["JFIF:YResolution"]) == (600, 600)
    assert "Warning" not in str(words)


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_resolution_needs_no_exif(file_format: FileFormat, tmp_path: Path) -> None:
    needs_program("exiftool", "libimage-exiftool-perl")
    file = tmp_path / f"copy.{EXTENSIONS[file_format]}"
    photo = Photo(_smooth(), meta=Metadata(dpi=(1200.0, 1200.0)))
    file.write_bytes(_copy(photo, file_format))
    assert words_of(file)["IFD0:XResolution"] == 1200


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_copy_is_the_same_picture(
    file_format: FileFormat, channels: int, alpha: bool, dtype: Any
) -> None:
    """Of every kind, to what a lossy format allows; in a JPEG on white."""
    top = np.iinfo(dtype).max
    pixels = (_smooth()[..., :channels] * (top / 255)).astype(dtype)
    opacity = np.full(pixels.shape[:2], top, dtype) if alpha else None
    if opacity is not None:
        opacity[:, :32] = 0
    data = _copy(Photo(pixels, opacity), file_format)
    if file_format == "tiff":
        array = tifffile.imread(io.BytesIO(data)).reshape(*pixels.shape[:2], -1)
        assert array.dtype == dtype
        assert np.array_equal(array[..., :channels], pixels)
        if opacity is not None:
            assert np.array_equal(array[..., -1], opacity)
        return
    image = Image.open(io.BytesIO(data))
    shown = np.asarray(image.convert("RGB")).astype(int)
    expected = np.broadcast_to(_smooth()[..., :channels], shown.shape)
    assert np.abs(shown - expected)[:, 40:].mean() < 3
    if alpha and file_format == "jpeg":
        assert shown[:, :24].min() > 240
    elif alpha:
        assert image.getchannel("A").getpixel((4, 4)) == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_of_many_strips_is_read_by_libtiff(dtype: Any) -> None:
    """Lossless to the level, also by the library that most programs use; noise, which
    does not deflate, too.
    """
    pixels = noise((700, 900, 3), dtype)
    data = _copy(Photo(pixels, meta=Metadata(icc=srgb())), "tiff")
    assert np.array_equal(tifffile.imread(io.BytesIO(data)), pixels)
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["icc_profile"] == srgb()
        if dtype is np.uint8:
            assert np.array_equal(np.asarray(image), pixels)


def test_exif_lies_whole_in_a_tiff() -> None:
    """Fields of all its directories are found where the picture's directory says."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Leica"
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.LensModel: "Summicron 50"}
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    data = _copy(Photo(_smooth(), meta=Metadata(exif=block)), "tiff")
    with Image.open(io.BytesIO(data)) as image:
        read = image.getexif()
        assert read[ExifTags.Base.Make] == "Leica"
        details = read.get_ifd(ExifTags.IFD.Exif)
        assert details[ExifTags.Base.LensModel] == "Summicron 50"


@pytest.mark.parametrize("file_format", ["jpeg", "webp", "avif"])
def test_colours_are_the_photos_or_srgb(
    file_format: FileFormat, decoder: Decoder
) -> None:
    """With the photo's profile the numbers stay; in sRGB they change, so that they mean
    the same without one.
    """
    pixels = np.full((32, 32, 3), (100, 180, 100), np.uint8)
    photo = Photo(pixels, meta=Metadata(icc=P3))
    kept = Image.open(io.BytesIO(_copy(photo, file_format)))
    assert kept.info["icc_profile"] == P3
    assert np.abs(np.asarray(kept.convert("RGB")).astype(int) - pixels).max() < 4
    data = _copy(photo, file_format, copy_profile="srgb", converter=decoder)
    converted = Image.open(io.BytesIO(data))
    assert "icc_profile" not in converted.info
    expected = decoder.to_srgb(pixels, P3).astype(int)
    shown = np.asarray(converted.convert("RGB")).astype(int)
    assert np.abs(shown - expected).max() < 5


def test_a_profile_that_cannot_be_converted_stays() -> None:
    """Without a converter the numbers must not lose what they mean."""
    photo = Photo(_smooth(), meta=Metadata(icc=P3))
    image = Image.open(io.BytesIO(_copy(photo, "jpeg", copy_profile="srgb")))
    assert image.info["icc_profile"] == P3


def test_a_picture_in_a_scratch_file_gives_the_same_bytes(tmp_path: Path) -> None:
    """However large a picture is, its copy is that of one in memory."""
    photo = Photo(photo_like(300, 200))
    small = {"scratch_threshold_bytes": 1, "scratch_dir": tmp_path}
    for file_format in FORMATS:
        assert _copy(photo, file_format, **small) == _copy(photo, file_format)


def test_what_a_format_cannot_hold_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = Photo(np.zeros((1, 20_000, 3), np.uint8))
    assert "WEBP" in (obstacle(photo, "webp") or "")
    assert obstacle(photo, "jpeg") is None
    assert obstacle(photo, "tiff") is None
    monkeypatch.setattr(copies, "MOST_BYTES", 100)
    assert "TIFF" in (obstacle(photo, "tiff") or "")
