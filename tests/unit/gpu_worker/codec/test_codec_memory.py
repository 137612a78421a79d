"""Pictures larger than memory: a walk through one releases the rows that lie behind."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import psutil
import pytest

from gpu_worker import codec
from gpu_worker.photo import Photo
from gpu_worker.pixels import scratch
from shared.runtime.settings import Settings

ROWS, WIDTH = 8000, 8000  # 192 MB
BOUND_BYTES = 90_000_000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(scratch_dir=tmp_path, scratch_threshold_bytes=1)


@pytest.fixture
def big(settings: Settings) -> Photo:
    """A picture in a scratch file, none of it resident."""
    pixels = scratch.allocate((ROWS, WIDTH, 3), np.uint8, settings)
    pixels[:] = (np.arange(WIDTH * 3) // 97).astype(np.uint8).reshape(1, WIDTH, 3)
    scratch.drop(pixels)
    return Photo(pixels)


def resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def test_encoding_and_preview_leave_nothing_resident(
    big: Photo, settings: Settings
) -> None:
    """Mapped pages count as the process's memory until they are dropped; contents stay
    in the file.
    """
    first_row = big.pixels[0].copy()
    before = resident_bytes()
    codec.preview(big, settings, {})
    codec.write_png(big, io.BytesIO(), {}, 1)
    assert resident_bytes() - before < BOUND_BYTES
    assert np.array_equal(big.pixels[-1], first_row)
