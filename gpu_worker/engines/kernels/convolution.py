"""The Python side of `winograd.c`: packed weights, and lists of convolutions to run."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

VERSION = 1
"""Part of the library's name, raised with every change of `_Convolution`, so that none
left from other sources fits.
"""
LANE = 8
"""Channels of a source come in multiples of this; the others are zeros."""
COLUMNS = 16
"""Outputs of a convolution come in multiples of this."""
POINTS = 9
"""Weights of a 3x3 filter."""
MOST_RESIDUALS = 2

TRANSFORM = np.array(
    [
        [1, 0, 0],
        [-2 / 9, -2 / 9, -2 / 9],
        [-2 / 9, 2 / 9, -2 / 9],
        [1 / 90, 1 / 45, 2 / 45],
        [1 / 90, -1 / 45, 2 / 45],
        [1 / 45, 1 / 90, 1 / 180],
        [1 / 45, -1 / 90, 1 / 180],
        [0, 0, 1],
    ]
)
"""A row of three weights at Winograd's eight points; the counterpart of `transform_in`
and `transform_out`.
"""


class _Plane(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("step", ctypes.c_int64))


class _Convolution(ctypes.Structure):
    _fields_ = (
        ("source", _Plane * 2),
        ("channels", ctypes.c_int32 * 2),
        ("shift", ctypes.c_int32),
        ("outputs", ctypes.c_int32),
        ("weights", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("slope", ctypes.c_void_p),
        ("first", _Plane),
        ("second", _Plane),
        ("first_factor", ctypes.c_float),
        ("second_factor", ctypes.c_float),
        ("target", _Plane),
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
    )


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where they were not compiled or this machine's CPU
    lacks what they use.
    """
    path = Path(__file__).with_name(f"winograd.so.{VERSION}")
    try:
        found = ctypes.CDLL(str(path))
    except OSError:
        return None
    return found if found.winograd_supported() else None


@dataclass(frozen=True)
class Filters:
    """The weights of one convolution, transformed and packed once.

    `slope`: the factor of a negative sum, per output; 1 leaves it as it is.
    """

    weights: Floats
    bias: Floats
    slope: Floats

    @classmethod
    def of(
        cls,
        weights: Floats,
        bias: Floats,
        slope: Floats | float = 1.0,
    ) -> Filters:
        """From (outputs, inputs, 3, 3), (outputs,) and one slope or (outputs,); padded
        with zeros to whole vectors.
        """
        outputs = len(weights)
        rows = _padded(outputs, COLUMNS)
        slopes = np.broadcast_to(np.float32(slope), outputs)
        return cls(
            weights=_packed(weights, rows),
            bias=_extended(bias, rows),
            slope=_extended(slopes, rows),
        )

    @property
    def outputs(self) -> int:
        return len(self.bias)


def _packed(weights: Floats, rows: int) -> Floats:
    """Weights at Winograd's points, in the order in which the kernel reads them."""
    outputs, inputs = weights.shape[:2]
    columns = _padded(inputs, LANE)
    whole = np.zeros((rows, columns, POINTS), np.float32)
    whole[:outputs, :inputs] = weights.reshape(outputs, inputs, POINTS)
    flat = whole.reshape(-1, POINTS)
    transform = np.kron(TRANSFORM, TRANSFORM).astype(np.float32)
    points = transform @ flat.T
    blocks = points.reshape(-1, rows // COLUMNS, COLUMNS, columns)
    return np.ascontiguousarray(blocks.swapaxes(2, 3))


@dataclass(frozen=True)
class Step:
    """One convolution of pictures (height, width, channels): `channels` of `sources`
    side by side -> `target`.

    With `shift` the sources are enlarged 2^shift times first, each pixel repeated. Each
    of at most two `residuals` is (factor, picture): what was computed so far times the
    factor, plus the picture. Arrays may be slices of channels.
    """

    filters: Filters
    sources: Sequence[Floats]
    target: Floats
    shift: int = 0
    residuals: Sequence[tuple[float, Floats]] = ()

    def packed(self) -> _Convolution:
        """The step as the library reads it; the arrays must outlive it."""
        planes = [_plane(source) for source in self.sources]
        channels = [source.shape[2] for source in self.sources]
        unused = [(0.0, _Plane())] * MOST_RESIDUALS
        used = [(factor, _plane(picture)) for factor, picture in self.residuals]
        first, second = (used + unused)[:MOST_RESIDUALS]
        height, width, _ = self.target.shape
        return _Convolution(
            source=(_Plane * 2)(*planes),
            channels=(ctypes.c_int32 * 2)(*channels),
            shift=self.shift,
            outputs=self.filters.outputs,
            weights=self.filters.weights.ctypes.data,
            bias=self.filters.bias.ctypes.data,
            slope=self.filters.slope.ctypes.data,
            first=first[1],
            second=second[1],
            first_factor=first[0],
            second_factor=second[0],
            target=_plane(self.target),
            height=height,
            width=width,
        )


def run(steps: Sequence[Step], threads: int) -> None:
    """Run `steps` in order. Raises `MemoryError`."""
    kernels = library()
    assert kernels is not None
    count = len(steps)
    convolutions = [step.packed() for step in steps]
    array = (_Convolution * count)(*convolutions)
    if kernels.winograd_run(array, count, threads):
        raise MemoryError("no memory for the buffers of a convolution")


def _plane(array: Floats) -> _Plane:
    """A picture whose pixels lie at equal distances, in C's terms."""
    height, width, _ = array.shape
    row_stride, pixel_stride, channel_stride = array.strides
    assert channel_stride == array.itemsize
    assert height == 1 or row_stride == width * pixel_stride
    step = pixel_stride // array.itemsize
    return _Plane(array.ctypes.data, step)


def _padded(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def _extended(values: Floats, length: int) -> Floats:
    missing = length - len(values)
    padded = np.pad(values, (0, missing))
    return np.ascontiguousarray(padded, np.float32)
