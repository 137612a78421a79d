"""Our own 3x3 convolutions on the CPU: `winograd.c`, compiled when Darkroom is
installed where a C compiler is.

On two AVX2 cores they take half the time of ncnn's and a sixth of its memory. Without
them ncnn does the work.
"""

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

# fmt: off
TRANSFORM = np.array([
    [1, 0, 0], [-2 / 9, -2 / 9, -2 / 9], [-2 / 9, 2 / 9, -2 / 9], [1 / 90, 1 / 45, 2 / 45], [1 / 90, -1 / 45, 2 / 45],
    [1 / 45, 1 / 90, 1 / 180], [1 / 45, -1 / 90, 1 / 180], [0, 0, 1],
])
# fmt: on
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
    try:
        found = ctypes.CDLL(str(Path(__file__).with_name(f"winograd.so.{VERSION}")))
    except OSError:
        return None
    return found if found.winograd_supported() else None


@dataclass(frozen=True)
class Filters:
    """The weights of one convolution, transformed and packed once.

    `slope`: what a negative sum is multiplied with, per output; 1 leaves it as it is.
    """

    weights: Floats
    bias: Floats
    slope: Floats

    @classmethod
    def of(cls, weights: Floats, bias: Floats, slope: Floats | float = 1.0) -> Filters:
        """From (outputs, inputs, 3, 3), (outputs,) and one slope or (outputs,); padded
        with zeros to whole vectors.
        """
        outputs, inputs = weights.shape[:2]
        rows, columns = _padded(outputs, COLUMNS), _padded(inputs, LANE)
        whole = np.zeros((rows, columns, 9), np.float32)
        whole[:outputs, :inputs] = weights.reshape(outputs, inputs, 9)
        points = (
            np.kron(TRANSFORM, TRANSFORM).astype(np.float32) @ whole.reshape(-1, 9).T
        )
        packed = np.ascontiguousarray(
            points.reshape(-1, rows // COLUMNS, COLUMNS, columns).swapaxes(2, 3)
        )
        return cls(
            packed,
            _extended(bias, rows),
            _extended(np.broadcast_to(np.float32(slope), outputs), rows),
        )

    @property
    def outputs(self) -> int:
        return len(self.bias)


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
        sources, channels = (
            [_plane(s) for s in self.sources],
            [s.shape[2] for s in self.sources],
        )
        factors, residuals = (
            [f for f, _ in self.residuals],
            [_plane(r) for _, r in self.residuals],
        )
        first, second = (residuals + [_Plane()] * 2)[:2]
        height, width, _ = self.target.shape
        return _Convolution(
            (_Plane * 2)(*sources),
            (ctypes.c_int32 * 2)(*channels),
            self.shift,
            self.filters.outputs,
            self.filters.weights.ctypes.data,
            self.filters.bias.ctypes.data,
            self.filters.slope.ctypes.data,
            first,
            second,
            *(factors + [0.0] * 2)[:2],
            _plane(self.target),
            height,
            width,
        )


def run(steps: Sequence[Step], threads: int) -> None:
    """Run `steps` in order. Raises `MemoryError`."""
    kernels = library()
    assert kernels is not None
    packed = (_Convolution * len(steps))(*(step.packed() for step in steps))
    if kernels.winograd_run(packed, len(steps), threads):
        raise MemoryError("no memory for the buffers of a convolution")


def _plane(array: Floats) -> _Plane:
    height, width, _ = array.shape
    step = array.strides[1] // array.itemsize
    assert array.strides[2] == array.itemsize
    assert height == 1 or array.strides[0] == width * array.strides[1]
    return _Plane(array.ctypes.data, step)


def _padded(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def _extended(values: Floats, length: int) -> Floats:
    return np.ascontiguousarray(np.pad(values, (0, length - len(values))), np.float32)
