"""Tiles in work: assembly, the ladder of smaller tiles, bounded memory. The networks
here are named by their fault.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.contextvars import bound_contextvars
from structlog.testing import capture_logs

from gpu_worker import tile_runner
from gpu_worker.engines import OutOfMemory
from gpu_worker.photo import Pixels
from shared.errors import Code, PermanentError
from shared.models import Model
from shared.runtime.settings import Settings

MODEL = Model(
    name="toy",
    architecture="srvgg",
    title="",
    licence="",
    scale=2,
    overlap_px=3,
    files=[],
)


class Repeats:
    """Enlarges by repetition: every output pixel says which input pixel it belongs to."""

    model = MODEL
    bytes_per_px = 1
    kernels = "toy"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:
        assert len({window.shape for window in windows}) == 1
        self.batches.append(len(windows))
        return [window.repeat(2, 0).repeat(2, 1) for window in windows]


class RaisesOutOfMemory(Repeats):
    """Above `limit` pixels in one call."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.refused: list[tuple[int, ...]] = []

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:
        if sum(window.shape[0] * window.shape[1] for window in windows) > self.limit:
            self.refused.append(windows[0].shape)
            raise OutOfMemory("too big")
        return super().upscale(windows, alone)


class RaisesOnce(Repeats):
    """Out of memory for the first call only, whatever its size."""

    def __init__(self) -> None:
        super().__init__()
        self._failed = threading.Event()

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:
        if not self._failed.is_set():
            self._failed.set()
            raise OutOfMemory("once")
        return super().upscale(windows, alone)


class GivesNaN(Repeats):
    """As a broken network does, in the third call."""

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:
        if len(self.batches) == 2:
            raise PermanentError(Code.INVALID_OUTPUT, "NaN")
        return super().upscale(windows, alone)


class Device:
    """An engine with as much memory, as many lanes and as large a batch as a test
    wants.
    """

    name = "toy"

    def __init__(
        self,
        lanes: int = 1,
        batch: int = 1,
        free: int = 10**9,
        device: str = "toy",
    ) -> None:
        self.lanes, self.batch, self._free = lanes, batch, free
        self.device = device

    def load(self, model: Model) -> Any:
        raise NotImplementedError

    def free_bytes(self) -> int:
        return self._free


def numbered(height: int, width: int) -> NDArray[np.uint16]:
    """No two pixels of a picture are equal."""
    return np.arange(height * width, dtype=np.uint16).reshape(height, width, 1)


def run(
    pixels: Pixels,
    network: Repeats,
    device: Device,
    seen: list[float] | None = None,
    **settings: Any,
) -> tuple[Pixels, dict[str, Any]]:
    return tile_runner.upscale(
        pixels, network, device, Settings(**settings), (seen or []).append
    )


def assert_enlarged(found: Pixels, pixels: Pixels) -> None:
    assert np.array_equal(found, pixels.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("tile_px", [0, 8, 13, 64])
@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("device", ["cpu", "toy"])
def test_every_pixel_lands_in_its_place(
    tile_px: int, lanes: int, batch: int, device: str
) -> None:
    """Whatever the tiles, the lanes, the batches, and who pastes."""
    pixels = numbered(97, 150)
    toy = Device(lanes, batch, device=device)
    found, _ = run(pixels, Repeats(), toy, tile_px=tile_px)
    assert_enlarged(found, pixels)


class TellsOfItsSecondCall(Repeats):
    """When that begins."""

    def __init__(self) -> None:
        super().__init__()
        self.second_began = threading.Event()

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:
        if self.batches:
            self.second_began.set()
        return super().upscale(windows, alone)


def test_a_gpu_computes_while_its_last_results_are_pasted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first tile's rows stay in work until the network has the second: in turns,
    that would never be. Progress comes from the thread that computes.
    """
    network, pixels = TellsOfItsSecondCall(), numbered(40, 80)
    in_time: list[bool] = []
    reporters: set[str] = set()
    monkeypatch.setattr(
        tile_runner.scratch,
        "drop",
        lambda rows: in_time.append(network.second_began.wait(20)),
    )
    found, tile = tile_runner.upscale(
        pixels,
        network,
        Device(),
        Settings(tile_px=40),
        lambda done: reporters.add(threading.current_thread().name),
    )
    assert tile["count"] == len(in_time) > 1
    assert all(in_time)
    assert reporters == {threading.current_thread().name}
    assert_enlarged(found, pixels)


@pytest.mark.parametrize("device", ["cpu", "toy"])
def test_a_photo_that_is_cancelled_ends_early(device: str) -> None:
    """By what `progress` raises, whoever pastes."""

    def cancelled(done: float) -> None:
        raise PermanentError(Code.CANCELLED, "withdrawn")

    with pytest.raises(PermanentError, match="withdrawn"):
        tile_runner.upscale(
            numbered(200, 200),
            Repeats(),
            Device(device=device),
            Settings(tile_px=20),
            cancelled,
        )


@pytest.mark.parametrize(("lanes", "is_free"), [(1, True), (3, False)])
@pytest.mark.parametrize("device", ["cpu", "toy"])
def test_between_two_tiles_the_device_is_free_for_others(
    lanes: int, is_free: bool, device: str
) -> None:
    """Before each but the first, where no two run at once."""
    network, calls = Repeats(), list[int]()
    pixels = numbered(100, 100)
    found, tile = tile_runner.upscale(
        pixels,
        network,
        Device(lanes, device=device),
        Settings(tile_px=25),
        lambda _: None,
        lambda: calls.append(len(network.batches)),
    )
    assert calls == (list(range(1, tile["count"])) if is_free else [])
    assert_enlarged(found, pixels)


def test_windows_are_batched_as_far_as_memory_allows() -> None:
    """Two windows of 26 x 26 with overlap fit into 1,400 pixels, a third does not."""
    network = Repeats()
    run(numbered(200, 200), network, Device(batch=8, free=1_400), tile_px=20)
    assert max(network.batches) == 2


def test_progress_rises_to_one() -> None:
    """After each tile, so that silence means a stuck device."""
    seen: list[float] = [0.0]
    run(numbered(100, 100), Repeats(), Device(), seen, tile_px=25)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)
    assert len(seen) > 10


def test_a_batch_that_does_not_fit_is_run_one_by_one() -> None:
    """The tiles keep their size, and the ladder stays unused."""
    pixels = numbered(100, 100)
    found, tile = run(pixels, RaisesOutOfMemory(900), Device(batch=4), tile_px=20)
    assert_enlarged(found, pixels)
    assert "ladder" not in tile


def test_a_tile_that_does_not_fit_goes_down_the_ladder() -> None:
    """Each step is in the record, and in the log with the photo's ids; the picture is
    whole.
    """
    pixels = numbered(250, 250)
    network = RaisesOutOfMemory(102 * 102)
    with capture_logs() as logs, bound_contextvars(task_id="t"):
        found, tile = run(pixels, network, Device(), tile_px=250)
    smaller = [line for line in logs if line["event"] == "tile.smaller"]
    assert len(smaller) == len(tile["ladder"])
    assert {line["task_id"] for line in smaller} == {"t"}
    assert_enlarged(found, pixels)
    assert tile["ladder"][0] == {"failed_px": 250, "then_px": 192}
    assert {step["then_px"] for step in tile["ladder"]} == {192, 96}


def test_only_the_tile_that_failed_is_cut() -> None:
    """One refusal, one step: all other tiles are computed once, at their size."""
    pixels = numbered(300, 300)
    network = RaisesOnce()
    found, tile = run(pixels, network, Device(), tile_px=150)
    assert_enlarged(found, pixels)
    assert len(tile["ladder"]) == 1
    pieces_of_one = 4
    assert len(network.batches) == tile["count"] - 1 + pieces_of_one


def test_below_the_ladder_memory_is_really_out() -> None:
    """The error says what was tried and what helps."""
    with pytest.raises(
        PermanentError, match=r"tiles of 200, 100, 50 px .* more memory"
    ) as caught:
        run(numbered(200, 200), RaisesOutOfMemory(100), Device(), tile_px=200)
    assert caught.value.code == Code.OUT_OF_MEMORY


def test_an_invalid_output_ends_the_photo() -> None:
    """One bad tile is enough; no half picture is returned."""
    with pytest.raises(PermanentError) as caught:
        run(numbered(100, 100), GivesNaN(), Device(), tile_px=20)
    assert caught.value.code == Code.INVALID_OUTPUT


def test_a_big_result_lives_in_a_scratch_file(tmp_path: Path) -> None:
    """Same pixels; nothing is left in the folder."""
    pixels = numbered(120, 130)
    found, _ = run(
        pixels,
        Repeats(),
        Device(2),
        tile_px=30,
        scratch_dir=tmp_path,
        scratch_threshold_bytes=1000,
    )
    assert isinstance(found, np.memmap)
    assert_enlarged(found, pixels)
    assert list(tmp_path.iterdir()) == []


def test_resident_memory_does_not_grow_with_the_result(tmp_path: Path) -> None:
    """Finished bands are dropped: 400 MB of result leave less than 60 MB resident."""
    pixels = np.zeros((7000, 5000, 3), np.uint8)
    before = resident_bytes()
    run(
        pixels,
        Repeats(),
        Device(),
        tile_px=500,
        scratch_dir=tmp_path,
        scratch_threshold_bytes=1000,
    )
    assert resident_bytes() - before < 60e6


def test_a_disk_without_room_is_told_before_the_work(tmp_path: Path) -> None:
    """Writing to a mapped file on a full disk would kill the process."""
    huge = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (2**22, 2**22, 3))
    with pytest.raises(PermanentError, match="DARKROOM_SCRATCH_DIR") as caught:
        run(huge, Repeats(), Device(), scratch_dir=tmp_path)
    assert caught.value.code == Code.OUT_OF_MEMORY


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
