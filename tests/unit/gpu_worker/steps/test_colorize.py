"""Colouring: the official arithmetic around the network, in row_chunks, at every size, depth
and colour space.
"""

# ruff: noqa: E402 - nothing of torch may be imported before `needs`

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ImageCms

from tests.support.extras import needs
from tests.support.pictures import difference, photo_like

needs("torch", "torch")

import cv2

from gpu_worker.codec import colour
from gpu_worker.photo import Metadata, Photo
from gpu_worker.pixels import bilinear, row_chunks
from gpu_worker.steps import colorize
from tests.support.colour_stand_in import Floats, StandIn, coloured, smooth


def official(
    bgr: NDArray[np.uint8], side: int, network: Any, enlarge: int
) -> tuple[Floats, NDArray[np.uint8]]:
    """The steps of DDColor's published pipeline on the whole picture: what its network
    sees, and the result in BGR.
    """
    height, width = bgr.shape[:2]
    image = (bgr / 255.0).astype(np.float32)
    luminance = cv2.cvtColor(image, cv2.COLOR_BGR2Lab)[:, :, :1]
    small = cv2.cvtColor(cv2.resize(image, (side, side)), cv2.COLOR_BGR2Lab)[:, :, :1]
    grey = cv2.cvtColor(
        np.concatenate([small, np.zeros_like(small), np.zeros_like(small)], 2),
        cv2.COLOR_LAB2RGB,
    )
    ab = cv2.resize(network(grey), (width, height), interpolation=enlarge)
    result = cv2.cvtColor(np.concatenate([luminance, ab], 2), cv2.COLOR_LAB2BGR)
    return grey, (result * 255.0).round().astype(np.uint8)


@pytest.mark.parametrize("size", [460, 512, 680, 960])
@pytest.mark.parametrize("shape", [(351, 500), (700, 90), (64, 64), (1, 1), (3, 2000)])
def test_the_network_sees_what_the_official_one_sees(
    size: int, shape: tuple[int, int]
) -> None:
    """At every size and shape of photo."""
    engine, pixels = StandIn(), photo_like(*shape)
    coloured(Photo(pixels), engine, size)
    expected, _ = official(
        np.ascontiguousarray(pixels[:, :, ::-1]),
        colorize.snapped(size),
        smooth,
        cv2.INTER_LINEAR,
    )
    off = np.abs(engine.seen[0] - expected) * 255
    print(
        f"size {size} shape {shape}: network input off by max {off.max():.5f}, mean {off.mean():.6f} levels"
    )
    assert engine.seen[0].shape == expected.shape
    # OpenCV's table is a quarter of a unit of L off.
    assert off.mean() < 0.35
    assert off.max() < 1


@pytest.mark.parametrize("shape", [(351, 500), (700, 90), (1, 1), (3, 2000)])
def test_the_picture_is_the_official_one(shape: tuple[int, int]) -> None:
    """With ab enlarged in the same smooth way: at most a level off, by rounding."""
    pixels = photo_like(*shape)
    found = coloured(Photo(pixels), StandIn()).photo.pixels
    _, expected = official(
        np.ascontiguousarray(pixels[:, :, ::-1]), 512, smooth, cv2.INTER_LINEAR
    )
    off = difference(found, np.ascontiguousarray(expected[:, :, ::-1]))
    print(
        f"shape {shape}: picture off by max {off.max():.0f}, mean {off.mean():.6f} levels"
    )
    assert off.max() <= 1
    assert off.mean() < 0.3


def test_nearest_neighbour_is_the_whole_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The official code repeats pixels of ab; made to do the same, ours is within half
    a level of it.
    """
    pixels = photo_like(351, 500)

    def repeated(source: NDArray[Any], size: tuple[int, int], band: slice) -> Floats:
        if source.shape[2] != 2:
            return plain(source, size, band)
        width, height = size
        rows = np.arange(band.start, band.stop) * source.shape[0] // height
        columns = np.arange(width) * source.shape[1] // width
        return np.ascontiguousarray(source[rows][:, columns], np.float32)

    plain = bilinear.rows
    monkeypatch.setattr(bilinear, "rows", repeated)
    found = coloured(Photo(pixels), StandIn()).photo.pixels
    _, expected = official(
        np.ascontiguousarray(pixels[:, :, ::-1]), 512, smooth, cv2.INTER_NEAREST
    )
    off = difference(found, np.ascontiguousarray(expected[:, :, ::-1]))
    print(f"nearest neighbour: max {off.max():.0f}, mean {off.mean():.6f} levels")
    assert off.mean() < 0.5


def luminance(rgb: NDArray[Any]) -> NDArray[Any]:
    """L of CIE Lab, 0..100, by the definition."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = linear @ np.array([0.212671, 0.715160, 0.072169])
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


@pytest.mark.parametrize("bits", [8, 16])
def test_the_photo_keeps_its_luminance(bits: int) -> None:
    """L of the result is L of the photo wherever the colours exist in sRGB."""
    pixels = photo_like(80, 90, 1, bits)
    found = coloured(Photo(pixels), StandIn(lambda grey: smooth(grey) / 8)).photo.pixels
    top = np.float32(2**bits - 1)
    before, after = luminance(np.repeat(pixels, 3, 2) / top), luminance(found / top)
    shown = (found > 0).all(2) & (found < top).all(2)
    assert shown.mean() > 0.9
    assert np.abs(before - after)[shown].max() < (0.5 if bits == 8 else 0.006)


@pytest.mark.parametrize(("channels", "bits"), [(1, 8), (3, 8), (1, 16), (3, 16)])
def test_grey_and_colour_photos_of_both_depths_become_rgb(
    channels: int, bits: int
) -> None:
    """Full frame, same depth, alpha untouched."""
    pixels, alpha = (
        photo_like(50, 70, channels, bits),
        photo_like(50, 70, 1, bits)[:, :, 0],
    )
    found = coloured(Photo(pixels, alpha), StandIn()).photo
    assert found.pixels.shape == (50, 70, 3)
    assert found.pixels.dtype == pixels.dtype
    assert found.alpha is alpha
    if bits == 16:
        assert len(np.unique(found.pixels % 257)) > 200, "8 bits stretched to 16"


def test_no_colour_factor_leaves_the_photo_grey() -> None:
    """0 is no colour, 2 is twice of it."""
    pixels = photo_like(40, 40, 1)
    grey = coloured(Photo(pixels), StandIn(), factor=0).photo.pixels
    assert difference(grey, np.repeat(pixels, 3, 2)).max() <= 1
    once, twice = (
        coloured(
            Photo(pixels), StandIn(lambda grey: smooth(grey) / 8), factor=factor
        ).photo.pixels.astype(np.float32)
        for factor in (1, 2)
    )
    chroma = [
        cv2.cvtColor(p / np.float32(255), cv2.COLOR_RGB2LAB)[:, :, 1:]
        for p in (once, twice)
    ]
    assert np.abs(2 * chroma[0] - chroma[1]).mean() < 1


def test_colours_beyond_the_legal_range_are_held_back() -> None:
    """A wild network gives saturated colours, never a picture of wrapped numbers."""
    pixels = photo_like(40, 40)
    wild = coloured(
        Photo(pixels), StandIn(lambda grey: smooth(grey) * 1e6)
    ).photo.pixels
    legal = coloured(
        Photo(pixels), StandIn(lambda grey: np.clip(smooth(grey) * 1e6, -128, 127))
    ).photo.pixels
    assert np.array_equal(wild, legal)


@pytest.mark.parametrize(
    ("requested", "effective"),
    [
        (460, 448),
        (463, 448),
        (464, 480),
        (512, 512),
        (680, 672),
        (688, 704),
        (1280, 1280),
    ],
)
def test_any_size_is_accepted_and_both_sizes_are_recorded(
    requested: int, effective: int
) -> None:
    """The network insists on multiples of 32."""
    engine = StandIn()
    result = coloured(Photo(photo_like(20, 30)), engine, requested)
    assert engine.seen[0].shape == (effective, effective, 3)
    assert result.detail == {
        "model_size": requested,
        "effective_size": effective,
        "color_factor": 1.0,
    }


def test_the_result_does_not_depend_on_the_bands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Big photos are done in rows at a time."""
    pixels = photo_like(300, 200)
    whole = coloured(Photo(pixels), StandIn()).photo.pixels
    monkeypatch.setattr(row_chunks, "BAND_BYTES", 200 * 4 * colorize.FLOATS_PER_PX * 7)
    assert np.array_equal(coloured(Photo(pixels), StandIn()).photo.pixels, whole)


@pytest.mark.parametrize(
    ("source", "target"),
    [((351, 500), (512, 512)), ((2000, 31), (64, 448)), ((64, 64), (700, 50))],
)
def test_bilinear_rows_are_those_of_opencv(
    source: tuple[int, int], target: tuple[int, int]
) -> None:
    """Enlarged and reduced."""
    pixels = photo_like(*source)
    width, height = target
    found = np.concatenate(
        [
            bilinear.rows(pixels, target, slice(i, min(i + 7, height)))
            for i in range(0, height, 7)
        ]
    )
    expected = cv2.resize(
        pixels.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR
    )
    assert np.abs(found - expected).max() < 1e-3


def profile(space: str) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()


def test_an_srgb_photo_keeps_its_profile_and_its_tones() -> None:
    """Nothing to convert."""
    icc, pixels = profile("sRGB"), photo_like(30, 30)
    found = coloured(
        Photo(pixels, meta=Metadata(icc=icc, greys=colour.greys(icc, 3))), StandIn()
    ).photo
    assert found.meta.icc == icc
    assert np.array_equal(found.pixels, coloured(Photo(pixels), StandIn()).photo.pixels)


def darker_profile(template: bytes) -> bytes:
    """`template` with the tone curve of gamma 1.0: its greys look much brighter in
    sRGB.
    """
    at = template.index(b"para")
    return template[:at] + b"curv\0\0\0\0\0\0\0\0" + template[at + 12 :]


def test_other_tones_are_converted_and_noted() -> None:
    """A linear profile: its mid grey is bright in sRGB, and the result carries no
    profile that says otherwise.
    """
    icc = darker_profile(profile("sRGB"))
    grey = np.full((8, 8, 3), 128, np.uint8)
    found = coloured(
        Photo(grey, meta=Metadata(icc=icc, greys=colour.greys(icc, 3))),
        StandIn(),
        factor=0,
    ).photo
    assert found.meta.icc is None
    assert "sRGB" in found.notes[-1]
    assert np.abs(found.pixels.astype(int) - 188).max() <= 2
    deep = coloured(
        Photo(
            grey.astype(np.uint16) * 257,
            meta=Metadata(icc=icc, greys=colour.greys(icc, 3)),
        ),
        StandIn(),
        factor=0,
    ).photo
    assert np.abs(deep.pixels / 257 - 188).max() <= 2


def test_the_colours_are_the_networks_and_not_swapped() -> None:
    """a is green to red, b is blue to yellow: checked by the CIE's own formulas, not by
    OpenCV's.
    """
    pixels = np.full((32, 32, 1), 150, np.uint8)
    found = coloured(
        Photo(pixels),
        StandIn(lambda grey: np.full((*grey.shape[:2], 2), [30, -20], np.float32)),
    )
    assert lab_of(found.photo.pixels[0, 0]) == pytest.approx((62.0, 30, -20), abs=1)


def lab_of(srgb: NDArray[np.uint8]) -> tuple[float, float, float]:
    """CIE L*a*b* under D65 of one sRGB pixel (IEC 61966-2-1, CIE 15)."""
    coded = srgb / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    ratio = to_xyz @ linear / [0.9505, 1.0, 1.0890]
    root = np.where(
        ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29
    )
    x, y, z = root
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)
