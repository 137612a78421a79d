"""A full scratch disk is an error with a name, leaves nothing behind, and is no fault
of the photo.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gpu_worker import codec
from gpu_worker.photo import Photo
from gpu_worker.pixels import scratch
from shared.errors import Code, PermanentError, TransientError
from shared.runtime.settings import Settings
from tests.support.full_disk import tiny_disk

DISK = 1 << 20


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with tiny_disk(tmp_path / "scratch", DISK) as folder:
        yield Settings(scratch_dir=folder, scratch_threshold_bytes=1000)


def test_a_picture_that_does_not_fit_now_may_fit_later(settings: Settings) -> None:
    """Passing, with the way out, and before a byte is written; with room again it is
    allocated.
    """
    ballast = settings.scratch_dir / "ballast"
    ballast.write_bytes(bytes(DISK * 3 // 4))
    # Under a limit for each file, instead of a disk, only what is larger than that does
    # not fit.
    size = DISK // 2 if settings.scratch_dir.is_mount() else DISK + 1
    with pytest.raises(TransientError, match="DARKROOM_SCRATCH_DIR") as caught:
        scratch.allocate((size,), np.uint8, settings)
    assert caught.value.code == Code.DISK_FULL
    assert list(settings.scratch_dir.iterdir()) == [ballast]
    ballast.unlink()
    assert scratch.allocate((DISK // 2,), np.uint8, settings).nbytes == DISK // 2


def test_a_picture_larger_than_the_disk_never_fits(settings: Settings) -> None:
    """That is final, and said at once."""
    with pytest.raises(PermanentError) as caught:
        scratch.allocate((2**50,), np.uint8, settings)
    assert caught.value.code == Code.OUT_OF_MEMORY


def test_a_result_that_cannot_be_written_leaves_no_half_file(
    settings: Settings,
) -> None:
    """A PNG of noise, larger than the disk: named, and the folder is as empty as
    before.
    """
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    folder = settings.scratch_dir
    with (
        pytest.raises(TransientError) as caught,
        scratch.disk(settings),
        tempfile.SpooledTemporaryFile(max_size=1000, dir=folder) as file,
    ):
        codec.write_png(Photo(noise), file, {}, 0)
    assert caught.value.code == Code.DISK_FULL
    assert list(folder.iterdir()) == []


def test_other_errors_of_the_disk_are_not_called_full(settings: Settings) -> None:
    """Only what space would cure."""
    with pytest.raises(PermissionError), scratch.disk(settings):
        raise PermissionError(13, "no")


def test_a_full_disk_under_the_log_stops_nobody() -> None:
    """A process whose log file cannot grow any more loses lines and goes on with its
    work.
    """
    script = """
from shared.runtime import telemetry
from shared.runtime.settings import Settings
telemetry.configure(Settings(), "worker")
for _ in range(2000):
    telemetry.logger().info("process.started", text="x" * 100)
print("still working")
"""
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=full,
            check=False,
        )
    assert (ran.returncode, ran.stdout) == (0, b"still working\n")
