"""The pixels of a PNG: bands of rows, filtered with numpy and deflated each on its own,
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
from typing import Any

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


def deflated_bands(
    photo: Photo, level: int, threads: int
) -> Iterator[tuple[Bytes, bytes]]:
    """Filtered and deflated bands in order; at most `threads` + 1 are in memory."""
    samples = photo.pixels.shape[2] + (photo.alpha is not None)
    rows = max(1, BAND_BYTES // (photo.width * samples * photo.pixels.dtype.itemsize))
    with ThreadPoolExecutor(threads, "png") as pool:
        waiting: deque[Future[tuple[Bytes, bytes]]] = deque()
        for top in range(0, photo.height, rows):
            waiting.append(
                pool.submit(_band, photo, top, min(top + rows, photo.height), level)
            )
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _band(photo: Photo, top: int, bottom: int, level: int) -> tuple[Bytes, bytes]:
    rows = _rows(photo, max(top - 1, 0), bottom)
    if top == 0:
        rows = np.concatenate((np.zeros_like(rows[:1]), rows))
    step = photo.pixels.dtype.itemsize * (
        photo.pixels.shape[2] + (photo.alpha is not None)
    )
    filtered = _filtered(rows[1:], rows[:-1], step, level)
    scratch.drop_rows(photo, top, bottom)
    return filtered, min((deflate(filtered) for deflate in _DEFLATES[level]), key=len)


def _rows(photo: Photo, top: int, bottom: int) -> Bytes:
    """Rows as PNG stores them: (rows, bytes), alpha interleaved, most significant byte
    first.
    """
    block: NDArray[Any] = photo.pixels[top:bottom]
    if photo.alpha is not None:
        block = np.concatenate((block, photo.alpha[top:bottom, :, None]), axis=2)
    if block.dtype == np.uint16:
        block = block.astype(">u2")
    return np.ascontiguousarray(block).view(np.uint8).reshape(bottom - top, -1)


def _filtered(rows: Bytes, above: Bytes, step: int, level: int) -> Bytes:
    """Each row with its filter type in front: one filter for the whole band, the best
    by a sample of its rows.
    """
    left = np.zeros_like(rows)
    left[:, step:] = rows[:, :-step]
    kind = (
        _UP
        if level == 0
        else min(_PREDICTORS, key=lambda k: _cost(k, rows, left, above))
    )
    result = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    result[:, 0] = kind
    np.subtract(rows, _PREDICTORS[kind](left, above), out=result[:, 1:])
    return result


def _cost(kind: int, rows: Bytes, left: Bytes, above: Bytes) -> int:
    """Sum of the sample's residuals as signed bytes: what is close to zero deflates
    well.
    """
    # Not the first row: at the top of the picture it has nothing above it and would
    # speak for the whole band.
    every = slice(_SAMPLE_EVERY // 2, None, _SAMPLE_EVERY)
    residual = rows[every] - _PREDICTORS[kind](left[every], above[every])
    return int(np.abs(residual.view(np.int8).astype(np.int16)).sum())


def _mean(left: Bytes, above: Bytes) -> Bytes:
    """(left + above) // 2 in eight bits."""
    return (left & above) + ((left ^ above) >> 1)


_PREDICTORS: dict[int, Callable[[Bytes, Bytes], Bytes]] = {
    _SUB: lambda left, _: left,
    _UP: lambda _, above: above,
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
