"""The pixels of a PNG: bands of rows, each filtered with numpy and deflated on its own,
in order.

Neither the number of threads nor their timing changes a byte. Another release of the
deflate libraries, or another kind of processor, may choose other bytes for the same
pixels.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from gpu_worker.photo import Photo
from gpu_worker.pixels import scratch

BAND_BYTES = 1 << 20
Bytes = NDArray[np.uint8]
# No divisor of the periods that block codecs (8) and enlarging networks (2, 4) leave in
# the rows.
_SAMPLE_EVERY = 7
_SUB, _UP, _AVERAGE = 1, 2, 3


class Band(NamedTuple):
    """Some rows, (rows, 1 + bytes) with their filter types, and the same deflated."""

    filtered: Bytes
    deflated: bytes


def deflated_bands(photo: Photo, level: int, threads: int) -> Iterator[Band]:
    """The bands in order; at most `threads` + 1 are in memory."""
    row_bytes = photo.width * _pixel_bytes(photo)
    rows = max(1, BAND_BYTES // row_bytes)
    if photo.height <= rows:
        # A thread for a single band would only cost its start.
        yield _band(photo, 0, photo.height, level)
        return
    with ThreadPoolExecutor(threads, "png") as pool:
        waiting: deque[Future[Band]] = deque()
        for top in range(0, photo.height, rows):
            bottom = min(top + rows, photo.height)
            future = pool.submit(_band, photo, top, bottom, level)
            waiting.append(future)
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _pixel_bytes(photo: Photo) -> int:
    colours = int(photo.pixels.shape[2])
    samples = colours if photo.alpha is None else colours + 1
    return samples * photo.pixels.dtype.itemsize


def _band(photo: Photo, top: int, bottom: int, level: int) -> Band:
    rows = _rows_with_one_above(photo, top, bottom)
    filtered = _filtered(
        rows[1:],
        rows[:-1],
        _pixel_bytes(photo),
        level,
    )
    scratch.drop_rows(photo, top, bottom)
    candidates = [deflate(filtered) for deflate in _DEFLATES[level]]
    return Band(filtered, min(candidates, key=len))


def _rows_with_one_above(photo: Photo, top: int, bottom: int) -> Bytes:
    """Filters look at the row above; the first row of a picture has zeros there."""
    if top > 0:
        return _rows(photo, top - 1, bottom)
    rows = _rows(photo, top, bottom)
    nothing = np.zeros_like(rows[:1])
    return np.concatenate((nothing, rows))


def _rows(photo: Photo, top: int, bottom: int) -> Bytes:
    """Rows as PNG stores them: (rows, bytes), alpha interleaved, most significant byte
    first.
    """
    block: NDArray[Any] = photo.pixels[top:bottom]
    if photo.alpha is not None:
        alpha = photo.alpha[top:bottom, :, np.newaxis]
        block = np.concatenate((block, alpha), axis=2)
    if block.dtype == np.uint16:
        block = block.astype(">u2")
    contiguous = np.ascontiguousarray(block)
    return contiguous.view(np.uint8).reshape(bottom - top, -1)


def _filtered(rows: Bytes, above: Bytes, pixel_bytes: int, level: int) -> Bytes:
    """Each row with its filter type in front: one filter for the whole band, the best
    by a sample of its rows.
    """
    left = np.zeros_like(rows)
    left[:, pixel_bytes:] = rows[:, :-pixel_bytes]
    kind = _UP if level == 0 else _cheapest(rows, left, above)
    count, length = rows.shape
    result = np.empty((count, length + 1), np.uint8)
    result[:, 0] = kind
    prediction = _PREDICTORS[kind](left, above)
    np.subtract(rows, prediction, out=result[:, 1:])
    return result


def _cheapest(rows: Bytes, left: Bytes, above: Bytes) -> int:
    """The filter type whose residuals in the sample deflate best."""
    # Not the first row: at the top of the picture it has nothing above it and would
    # speak for the whole band.
    every = slice(_SAMPLE_EVERY // 2, None, _SAMPLE_EVERY)
    sample, sample_left, sample_above = rows[every], left[every], above[every]
    costs = {}
    for kind, predictor in _PREDICTORS.items():
        residual = sample - predictor(sample_left, sample_above)
        costs[kind] = _cost(residual)
    return min(costs, key=costs.__getitem__)


def _cost(residual: Bytes) -> int:
    """The sum of residuals as signed bytes: those close to zero deflate well."""
    signed = residual.view(np.int8).astype(np.int16)
    return int(np.abs(signed).sum())


def _left(left: Bytes, above: Bytes) -> Bytes:  # noqa: ARG001 - as every predictor
    return left


def _above(left: Bytes, above: Bytes) -> Bytes:  # noqa: ARG001 - as every predictor
    return above


def _mean(left: Bytes, above: Bytes) -> Bytes:
    """(left + above) // 2 in eight bits."""
    return (left & above) + ((left ^ above) >> 1)


_PREDICTORS: dict[int, Callable[[Bytes, Bytes], Bytes]] = {
    _SUB: _left,
    _UP: _above,
    _AVERAGE: _mean,
}


# A full flush ends on a byte and forgets what came before: so the bands can be joined.
def _igzip(data: Bytes) -> bytes:
    stream = isal_zlib.compressobj(1, wbits=-15)
    return bytes(stream.compress(data) + stream.flush(isal_zlib.Z_FULL_FLUSH))


def _runs(data: Bytes) -> bytes:
    # Photographic residuals hold few true repeats; looking for runs only is smaller and
    # faster than looking for all.
    stream = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_RLE)
    return stream.compress(data.data) + stream.flush(zlib.Z_FULL_FLUSH)


def _repeats(data: Bytes) -> bytes:
    stream = zlib.compressobj(6, zlib.DEFLATED, -15, 9, zlib.Z_FILTERED)
    return stream.compress(data.data) + stream.flush(zlib.Z_FULL_FLUSH)


_DEFLATES: tuple[tuple[Callable[[Bytes], bytes], ...], ...] = (
    (_igzip,),
    (_igzip,),
    (_runs,),
    (_runs, _repeats),
)
"""By level. ISA-L's own levels 2 and 3 were measured: slower than its level 1, and no
smaller on photographs.
"""
