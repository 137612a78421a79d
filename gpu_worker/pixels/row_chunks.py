"""Bands of rows: arithmetic runs over a big picture a few rows at a time, so that
memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.runtime.heartbeat import own

BAND_BYTES = 8 * 1024 * 1024


def bands(
    height: int,
    row_bytes: int,
    band_bytes: int | None = None,
) -> Iterator[slice]:
    """Row slices that cover `height` rows in order.

    Each has about `band_bytes` (`BAND_BYTES` by default) of rows that take `row_bytes`
    each. Every band is a beat of this thread's heart: a big picture is no stuck worker.
    """
    most_bytes = band_bytes or BAND_BYTES
    rows = max(1, most_bytes // max(1, row_bytes))
    for start in range(0, height, rows):
        own().beat()
        end = min(start + rows, height)
        yield slice(start, end)
