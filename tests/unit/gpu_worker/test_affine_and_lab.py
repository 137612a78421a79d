"""Turning pictures and CIE Lab in NumPy, against OpenCV: at most one 8-bit level."""

# ruff: noqa: E402 - cv2 may not be imported before `needs`

from __future__ import annotations

import numpy as np
import pytest

from tests.support.extras import needs
from tests.support.pictures import photo_like

needs("cv2", "test")

import cv2

from gpu_worker.pixels import affine, area, lab

LEVEL = 1 / 255
OUTSIDE = (0.5, 0.4, 0.3)


def turned(degrees: float, factor: float, x: float, y: float) -> affine.Affine:
    angle = np.deg2rad(degrees)
    cosine, sine = factor * np.cos(angle), factor * np.sin(angle)
    return np.array([[cosine, -sine, x], [sine, cosine, y]])


WAYS = [
    turned(0, 1, 0, 0),
    turned(20, 1.7, -30, 12),
    turned(200, 0.6, 90, 80),
    turned(0, 1, 1000, 0),
]


@pytest.mark.parametrize("way", WAYS)
def test_a_warped_picture_is_that_of_opencv(way: affine.Affine) -> None:
    """Turned, enlarged, reduced, beside the picture."""
    picture = photo_like(90, 120).astype(np.float32) / np.float32(255)
    found = affine.warp(picture, affine.inverse(way), (140, 100), OUTSIDE)
    expected = cv2.warpAffine(
        picture,
        way,
        (140, 100),
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=OUTSIDE,
    )
    # OpenCV rounds positions to a thirty-second of a pixel.
    steepest = np.abs(np.diff(picture, axis=0)).max() / 32
    assert np.abs(found - expected).mean() < LEVEL / 4
    assert np.abs(found - expected).max() <= max(LEVEL, 2 * steepest)


def test_positions_move_there_and_back() -> None:
    points = np.random.default_rng(0).random((5, 2)) * 100
    way = WAYS[1]
    there = affine.moved(points, way)
    assert affine.moved(there, affine.inverse(way)) == pytest.approx(points)
    assert there == pytest.approx(cv2.transform(points[np.newaxis], way)[0])


@pytest.mark.parametrize("wrong", [None, 3])
def test_the_motion_of_a_face_is_that_of_opencv(wrong: int | None) -> None:
    """Also where one of the five points lies in a wrong place."""
    random = np.random.default_rng(1)
    targets = random.random((5, 2)) * 300
    points = affine.moved(targets, turned(30, 0.4, 20, 30))
    points += random.normal(0, 0.3, points.shape)
    if wrong is not None:
        points[wrong] += 60
    found = affine.similarity(points, targets)
    expected, _ = cv2.estimateAffinePartial2D(points, targets, method=cv2.LMEDS)
    assert found is not None
    corners = np.array([[0, 0], [300, 0], [0, 300]], float)
    off = affine.moved(corners, found) - affine.moved(corners, expected)
    assert np.abs(off).max() < 3


def test_one_point_five_times_is_no_face() -> None:
    assert (
        affine.similarity(np.ones((5, 2)), np.random.default_rng(0).random((5, 2)))
        is None
    )


def test_floats_are_reduced_as_by_opencv() -> None:
    picture = photo_like(91, 70).astype(np.float32) / np.float32(255)
    expected = cv2.resize(picture, (31, 40), interpolation=cv2.INTER_AREA)
    assert np.abs(area.means(picture, (31, 40)) - expected).max() < 1e-5


def test_lab_is_that_of_opencv_and_comes_back() -> None:
    """From linear light OpenCV computes it by the definition, too."""
    levels = photo_like(60, 80)
    light = lab.linear_levels(8)[levels]
    found = lab.from_linear(light)
    assert np.abs(found - cv2.cvtColor(light, cv2.COLOR_LRGB2LAB)).max() < 0.02
    back = lab.to_srgb(found)
    assert np.abs(back * 255 - levels).max() < 0.01
    wild = found * np.float32([1, 3, 3])
    expected = np.clip(cv2.cvtColor(wild, cv2.COLOR_LAB2RGB), 0, 1)
    assert np.abs(lab.to_srgb(wild) - expected).max() <= LEVEL


def test_every_16_bit_grey_comes_back() -> None:
    levels = np.arange(2**16, dtype=np.uint16).reshape(256, 256, 1).repeat(3, 2)
    grey = lab.from_linear(lab.linear_levels(16)[levels])
    assert np.abs(grey[:, :, 1:]).max() < 0.02
    assert np.abs(lab.to_srgb(grey) * 65535 - levels).max() < 8
