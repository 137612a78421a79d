"""Which engine runs what: by the setting, by what the machine has, by what a model
needs, and when memory ends.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gpu_worker import engines
from gpu_worker.engines import OutOfMemory
from gpu_worker.engines.auto import AutoEngine
from gpu_worker.engines.ncnn_engine import NcnnEngine
from gpu_worker.photo import Photo, Pixels
from gpu_worker.restore import Restored, restore
from shared import workflows
from shared.errors import Code, NotFound, PermanentError, SettingsError
from shared.models import Model, get
from shared.runtime.settings import Settings
from tests.support.pictures import photo_like


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which the extra is not installed."""
    plain = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name == "torch" else plain(name),
    )


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpu_worker.engines.registry.GPU_DEVICES", ())


def test_a_machine_without_a_gpu_runs_ncnn_and_never_imports_torch(
    without_gpu: None,
) -> None:
    """`auto` looks for a device file first."""
    engine = engines.select(Settings())
    assert isinstance(engine, AutoEngine)
    assert engines.serving(engine, get("realesrgan-x4plus")) is engine
    assert engines.serving(engine, None) is engine


def test_a_named_engine_runs_everything_itself() -> None:
    """No second guess at what the operator set."""
    engine = engines.select(Settings(engine="ncnn"))
    assert type(engine) is NcnnEngine
    assert engines.serving(engine, get("ddcolor-modelscope")) is engine


@pytest.mark.parametrize(
    ("engine", "extra"), [("torch", "torch"), ("realesrgan", "reference")]
)
def test_an_engine_that_is_not_installed_is_told_at_the_start(
    without_torch: None, engine: Any, extra: str
) -> None:
    """With the extra that brings it."""
    with pytest.raises(SettingsError, match=rf"pip install .*\[{extra}\]'"):
        engines.select(Settings(engine=engine))


@pytest.mark.parametrize("engine", ["ncnn", "onnxruntime", "torch", "auto"])
def test_a_gpu_that_was_asked_for_is_not_replaced_by_the_cpu(
    without_gpu: None, engine: Any
) -> None:
    """It would take minutes where seconds were meant."""
    with pytest.raises(
        SettingsError, match=r"DARKROOM_DEVICE=cuda:1: .* no CUDA device"
    ):
        engines.select(Settings(engine=engine, device="cuda:1"))


def test_the_cpu_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a GPU."""
    monkeypatch.setattr("gpu_worker.engines.registry.has_cuda", lambda: True)
    assert engines.select(Settings(device="cpu")).device == engines.CPU


def test_a_model_for_torch_alone_names_the_extra(
    without_gpu: None, without_torch: None
) -> None:
    """The other models still run."""
    with pytest.raises(NotFound, match=r"pip install .*\[torch\]'") as caught:
        engines.serving(engines.select(Settings()), get("gfpgan-1.4"))
    assert caught.value.code == Code.MODEL_MISSING


class TooSmall:
    """A GPU on which nothing fits."""

    name, device, lanes, batch = "torch", "a small GPU", 1, 4

    def __init__(self) -> None:
        self.model = get("realesr-animevideov3")
        self.bytes_per_px = 1
        self.kernels = "toy"

    def load(self, model: Model) -> Any:
        return self

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:
        raise OutOfMemory("no room")

    def free_bytes(self) -> int:
        return 10**9


def restored(settings: Settings) -> Restored:
    return restore(
        Photo(photo_like(20, 24)),
        workflows.resolve("fast"),
        TooSmall(),
        settings,
        lambda done: None,
    )


def test_what_does_not_fit_on_the_gpu_is_done_on_the_cpu() -> None:
    """And the record says so: which device, and why."""
    done = restored(Settings())
    assert done.photo.pixels.shape == (80, 96, 3)
    assert (done.engine, done.device) == ("ncnn", "cpu")
    fallback = done.steps[0].detail["fallback"]
    assert (fallback["from"], fallback["to"]) == ("a small GPU", "cpu")
    assert "did not fit" in fallback["because"]


def test_the_cpu_can_be_ruled_out() -> None:
    """Then the photo fails, with a hint."""
    with pytest.raises(PermanentError, match="DARKROOM_ENGINE=ncnn") as caught:
        restored(Settings(cpu_fallback=False))
    assert caught.value.code == Code.OUT_OF_MEMORY


class Measured(TooSmall):
    """A GPU that repeats pixels, and knows how much memory that took: a byte for each."""

    peak = 7

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:
        taken = sum(window.shape[0] * window.shape[1] for window in windows)
        self.peak = max(self.peak, taken)
        return [window.repeat(4, 0).repeat(4, 1) for window in windows]

    def reset_peak(self) -> None:
        self.peak = 0

    def peak_bytes(self) -> int | None:
        return self.peak


def peak_of(
    side: int, engine: Any, between_tiles: Callable[[], None] = lambda: None
) -> int | None:
    photo, workflow = Photo(photo_like(side, side)), workflows.resolve("fast")
    done = restore(
        photo,
        workflow,
        engine,
        Settings(tile_px=25),
        lambda _: None,
        between_tiles=between_tiles,
    )
    return done.peak_device_memory_bytes


def test_a_photo_says_how_much_of_the_gpu_it_took() -> None:
    """This photo, not those before it; on the CPU there is nothing to say."""
    engine = Measured()
    assert [peak_of(side, engine) for side in (20, 10)] == [400, 100]
    assert restored(Settings()).peak_device_memory_bytes is None


def test_a_photo_that_another_one_passed_says_its_own_peak() -> None:
    """The other one, between two tiles, begins a measurement of its own."""
    engine = Measured()
    passed: list[int | None] = []

    def let_pass() -> None:
        passed.append(peak_of(10, engine))

    unpassed = peak_of(100, engine)
    assert unpassed is not None
    assert unpassed > 100
    assert peak_of(100, engine, let_pass) == unpassed
    assert set(passed) == {100}
