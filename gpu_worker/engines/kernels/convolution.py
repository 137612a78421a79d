"""The Python side of `winograd.c`: which kernels there are, packed weights, and lists of
convolutions to run.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

VERSION = 2
"""Part of the library's name, raised with every change of the structures below, so that none
left from other sources fits.
"""
TAPS = 9
"""Weights of a 3x3 filter."""
POINTS = 64
"""Winograd's points: the products that a filter of nine taps becomes."""
MOST_RESIDUALS = 2
LINE_FLOATS = 16
"""Floats in a line of the cache: a vector that lies across two costs two loads."""

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
        ("inputs", ctypes.c_int32),
        ("outputs", ctypes.c_int32),
        ("shift", ctypes.c_int32),
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


class _Kernels(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("lane", ctypes.c_int32),
        ("columns", ctypes.c_int32),
        ("depth", ctypes.c_int32),
    )


class Spent(ctypes.Structure):
    """Where the time of convolutions went [s], of all threads together: in the first
    transform, the products, the transform back, and waiting for other threads.
    """

    _fields_ = (
        ("read", ctypes.c_double),
        ("multiply", ctypes.c_double),
        ("write", ctypes.c_double),
        ("wait", ctypes.c_double),
    )
    read: float
    multiply: float
    write: float
    wait: float


@dataclass(frozen=True)
class Kernels:
    """The kernels for one instruction set.

    `lane`: channels of a source, and outputs, come in multiples of this, the others
    being zeros. `columns` and `depth`: so many outputs and inputs have their weights
    side by side.
    """

    name: str
    lane: int
    columns: int
    depth: int
    address: int = field(repr=False)


@cache
def available() -> tuple[Kernels, ...]:
    """What was compiled and this machine's CPU can run, the fastest first."""
    library = _library()
    found: list[Kernels] = []
    while library is not None:
        address = library.winograd_kernels(len(found))
        if address is None:
            break
        read = _Kernels.from_address(address)
        name = read.name.decode()
        kernels = Kernels(name, read.lane, read.columns, read.depth, address)
        found.append(kernels)
    return tuple(found)


def best() -> Kernels | None:
    """The fastest kernels; None where none were compiled or this machine's CPU lacks
    what they use.
    """
    return next(iter(available()), None)


@cache
def _library() -> ctypes.CDLL | None:
    path = Path(__file__).with_name(f"winograd.so.{VERSION}")
    try:
        found = ctypes.CDLL(str(path))
    except OSError:
        return None
    found.winograd_kernels.restype = ctypes.c_void_p
    found.winograd_run.argtypes = (
        ctypes.c_void_p,
        ctypes.POINTER(_Convolution),
        ctypes.c_int,
        ctypes.c_int,
        ctypes.POINTER(Spent),
    )
    return found


@dataclass(frozen=True)
class Filters:
    """The weights of one convolution, transformed and packed once for `kernels`.

    `inputs`: channels that have weights. `slope`: the factor of a negative sum, per
    output; 1 leaves it as it is.
    """

    kernels: Kernels
    inputs: int
    weights: Floats
    bias: Floats
    slope: Floats

    @classmethod
    def of(
        cls,
        kernels: Kernels,
        weights: Floats,
        bias: Floats,
        slope: Floats | float = 1.0,
    ) -> Filters:
        """From (outputs, inputs, 3, 3), (outputs,) and one slope or (outputs,); outputs
        are padded with zeros to whole vectors.
        """
        outputs, inputs = weights.shape[:2]
        rows = _padded(outputs, kernels.lane)
        slopes = np.broadcast_to(np.float32(slope), outputs)
        return cls(
            kernels,
            inputs,
            weights=_packed(kernels, weights, rows),
            bias=_extended(bias, rows),
            slope=_extended(slopes, rows),
        )

    @property
    def outputs(self) -> int:
        return len(self.bias)


def together(filters: Sequence[Filters]) -> list[Filters]:
    """The same filters, their weights one after the other in one array.

    NumPy asks for large pages for a large array: so much is read in each block of
    tiles that the misses in the table of pages would cost a twentieth of the time.
    """
    sizes = [part.weights.size for part in filters]
    starts = np.cumsum([0, *sizes])
    every = aligned(sum(sizes))
    moved = []
    for part, start in zip(filters, starts[:-1], strict=True):
        weights = every[start : start + part.weights.size]
        weights[:] = part.weights
        moved.append(replace(part, weights=weights))
    return moved


def aligned(size: int) -> Floats:
    """So many floats, undefined, from the start of a line of the cache on."""
    whole = np.empty(size + LINE_FLOATS, np.float32)
    beyond = whole.ctypes.data // whole.itemsize % LINE_FLOATS
    start = LINE_FLOATS - beyond
    return whole[start : start + size]


def _packed(kernels: Kernels, weights: Floats, rows: int) -> Floats:
    """Weights at Winograd's points, in the order in which the kernels read them."""
    outputs, inputs = weights.shape[:2]
    whole = np.zeros((rows, inputs, TAPS))
    whole[:outputs] = weights.reshape(outputs, inputs, TAPS)
    # In double precision, so that what is rounded to single is the same with every BLAS.
    transform = np.kron(TRANSFORM, TRANSFORM)
    transformed = transform @ whole.reshape(-1, TAPS).T
    points = transformed.astype(np.float32).reshape(POINTS, rows, inputs)
    pieces = [
        _side_by_side(points[:, :, start : start + kernels.depth], kernels.columns)
        for start in range(0, inputs, kernels.depth)
    ]
    return np.concatenate(pieces)


def _side_by_side(points: Floats, columns: int) -> Floats:
    """(points, outputs, inputs) -> flat: for each point and each so many outputs, those
    of one input lie side by side.
    """
    blocks = [
        points[:, start : start + columns].swapaxes(1, 2).reshape(POINTS, -1)
        for start in range(0, points.shape[1], columns)
    ]
    return np.concatenate(blocks, axis=1).ravel()


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
        assert sum(channels) == _padded(self.filters.inputs, self.filters.kernels.lane)
        unused = [(0.0, _Plane())] * MOST_RESIDUALS
        used = [(factor, _plane(picture)) for factor, picture in self.residuals]
        first, second = (used + unused)[:MOST_RESIDUALS]
        height, width, _ = self.target.shape
        return _Convolution(
            source=(_Plane * 2)(*planes),
            channels=(ctypes.c_int32 * 2)(*channels),
            inputs=self.filters.inputs,
            outputs=self.filters.outputs,
            shift=self.shift,
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


def run(steps: Sequence[Step], threads: int, spent: Spent | None = None) -> None:
    """Run `steps`, whose filters are all for the same kernels, in order; adds to
    `spent`. Raises `MemoryError`.
    """
    library = _library()
    assert library is not None
    (kernels,) = {step.filters.kernels for step in steps}
    convolutions = [step.packed() for step in steps]
    array = (_Convolution * len(steps))(*convolutions)
    into = ctypes.byref(spent or Spent())
    if library.winograd_run(kernels.address, array, len(steps), threads, into):
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
