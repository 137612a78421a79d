"""Rows at a time: whatever runs over a big picture does it in bands, so that memory
stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.runtime.heartbeat import own

BAND_BYTES = 8 * 1024 * 1024


def bands(
    height: int, row_bytes: int, band_bytes: int | None = None
) -> Iterator[slice]:
    """Row slices that cover `height` rows in order, each of about `band_bytes`
    (`BAND_BYTES`).
    """
    rows = max(1, (band_bytes or BAND_BYTES) // max(1, row_bytes))
    for start in range(0, height, rows):
        own().beat()
        yield slice(start, min(start + rows, height))
