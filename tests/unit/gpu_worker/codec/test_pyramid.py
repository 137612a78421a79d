"""A pyramid holds every tile that it promises, at its size, of the right pixels; the
PNG that it is made of is read as it was written.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpu_worker.codec.png import write_png
from gpu_worker.codec.png_reader import PngReader
from gpu_worker.codec.pyramid import BAND_PX, scaled_to, write_pyramid
from gpu_worker.photo import Metadata, Photo
from shared.errors import PermanentError


def picture(height: int, width: int, channels: int, dtype: Any = np.uint8) -> Any:
    rng = np.random.default_rng(7)
    steps = np.linspace(0, 200, height * width).reshape(height, width, 1)
    noise = rng.integers(0, 50, (height, width, channels))
    levels = (steps + noise).astype(np.uint8)
    if dtype == np.uint8:
        return levels
    return (levels.astype(np.uint16) << 8) + rng.integers(0, 256, levels.shape, dtype)


def as_png(photo: Photo) -> io.BytesIO:
    file = io.BytesIO()
    write_png(photo, file, {"Title": "x"}, 1)
    file.seek(0)
    return file


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_a_png_of_ours_is_read_as_it_was_written_in_eight_bits(
    dtype: Any, channels: int, has_alpha: bool
) -> None:
    pixels = picture(150, 67, channels, dtype)
    alpha = pixels[..., 0].copy() if has_alpha else None
    bands = list(PngReader(as_png(Photo(pixels, alpha))).bands(64, Metadata()))
    shift = 8 if dtype == np.uint16 else 0
    assert [band.height for band in bands] == [64, 64, 22]
    read = np.concatenate([band.pixels for band in bands])
    np.testing.assert_array_equal(read, pixels >> shift)
    if alpha is not None:
        planes = [band.alpha for band in bands if band.alpha is not None]
        np.testing.assert_array_equal(np.concatenate(planes), alpha >> shift)


@pytest.mark.parametrize("kept", [0, 20, 60, 1500, -30])
def test_a_png_that_is_not_whole_is_refused(kept: int) -> None:
    data = as_png(Photo(picture(150, 67, 3))).getvalue()
    with pytest.raises(PermanentError, match="cannot be read as the PNG"):
        list(PngReader(io.BytesIO(data[:kept])).bands(64, Metadata()))


def pyramid(photo: Photo) -> zipfile.ZipFile:
    def bands() -> Iterator[Photo]:
        for top in range(0, photo.height, BAND_PX):
            rows = slice(top, top + BAND_PX)
            alpha = None if photo.alpha is None else photo.alpha[rows]
            yield photo.with_(pixels=photo.pixels[rows], alpha=alpha)

    file = io.BytesIO()
    write_pyramid((photo.width, photo.height), bands(), file, "name", None)
    return zipfile.ZipFile(file)


def promised(info: dict[str, Any]) -> set[str]:
    """The names of all tiles and whole pictures by the Image API's own arithmetic."""
    width, height = info["width"], info["height"]
    names = {"info.json", "full/max/0/default.jpg"}
    for size in info["sizes"]:
        names.add(f"full/{size['width']},{size['height']}/0/default.jpg")
    (tiles,) = info["tiles"]
    for factor in tiles["scaleFactors"]:
        side = tiles["width"] * factor
        for y in range(0, height, side):
            for x in range(0, width, side):
                across, down = min(side, width - x), min(side, height - y)
                size = f"{-(-across // factor)},{-(-down // factor)}"
                names.add(f"{x},{y},{across},{down}/{size}/0/default.jpg")
    return names


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (512, 512), (700, 1301), (1025, 513), (2100, 300)]
)
def test_it_holds_what_its_info_promises_and_nothing_else(
    height: int, width: int
) -> None:
    archive = pyramid(Photo(picture(height, width, 3)))
    info = json.loads(archive.read("info.json"))
    assert (info["width"], info["height"]) == (width, height)
    assert set(archive.namelist()) == promised(info)
    assert all(each.compress_type == zipfile.ZIP_STORED for each in archive.infolist())
    for name in archive.namelist():
        if name != "info.json" and "max" not in name:
            with Image.open(archive.open(name)) as tile:
                assert name.split("/")[1] == f"{tile.width},{tile.height}"


def test_a_tile_shows_its_part_of_the_picture_and_what_is_transparent_is_white() -> (
    None
):
    pixels = picture(700, 1300, 3)
    alpha = np.full((700, 1300), 255, np.uint8)
    alpha[:, :100] = 0
    archive = pyramid(Photo(pixels, alpha))
    seen = np.where(alpha[..., np.newaxis] == 255, pixels, 255)
    one = np.asarray(Image.open(archive.open("512,512,512,188/512,188/0/default.jpg")))
    assert np.abs(one.astype(int) - seen[512:, 512:1024]).mean() < 15
    half = np.asarray(Image.open(archive.open("0,0,1024,700/512,350/0/default.jpg")))
    box = Image.fromarray(seen[:700, :1024].astype(np.uint8)).reduce(2)
    assert np.abs(half.astype(int) - np.asarray(box)).mean() < 9
    assert half[:, :40].min() > 245


def test_sizes_are_rounded_up() -> None:
    assert scaled_to((1301, 700), 4) == (326, 175)
