"""Networks on ONNX Runtime: what PyTorch computes, from the official files; weights
that do not fit are refused by name.
"""

# ruff: noqa: E402 - nothing of torch may be imported before `needs`

from __future__ import annotations

import hashlib
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.extras import needs
from tests.support.pictures import difference, photo_like

needs("torch", "torch")
needs("onnxscript", "test")

import onnxruntime
import torch
from safetensors.torch import save_file

from gpu_worker import engines
from gpu_worker.engines import OutOfMemory, onnx_engine, onnx_graphs, onnx_session
from gpu_worker.engines.auto import AutoEngine
from gpu_worker.engines.onnx_engine import OnnxEngine
from gpu_worker.engines.torch_engine import TorchEngine
from gpu_worker.pixels import memory
from shared.errors import Code, Missing, PermanentError, SettingsError
from shared.models import Model, ModelFile, get, registry
from shared.runtime.settings import Settings
from tests.support import export_graphs

State = dict[str, torch.Tensor]


def stored(folder: Path, state: State, architecture: str, suffix: str) -> Model:
    """An entry for weights that are stored as the official files are."""
    path = folder / f"{architecture}{suffix}"
    if suffix == ".safetensors":
        save_file({name: one.contiguous() for name, one in state.items()}, path)
    else:
        torch.save({"params": state}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Model(
        name=f"toy-{architecture}",
        architecture=architecture,
        title="",
        licence="",
        align_px=64,
        files=[ModelFile(role="weights", sha256=digest, path=path.name)],
    )


@pytest.fixture(scope="module")
def scunet() -> State:
    """A stand-in: random weights, tamed."""
    network = export_graphs.tamed(export_graphs.scunet())
    state: State = network.state_dict()
    return state


@pytest.fixture(scope="module")
def ddcolor() -> State:
    network = export_graphs.tamed(export_graphs.ddcolor("convnext-t"))
    state: State = network.state_dict()
    return state


@pytest.fixture(scope="module")
def colorizers(ddcolor: State, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The same weights on ONNX Runtime and on PyTorch."""
    folder = tmp_path_factory.mktemp("ddcolor")
    model = stored(folder, ddcolor, "ddcolor", ".pth")
    settings = Settings(models_dir=folder)
    both = (OnnxEngine(settings), TorchEngine(settings, "cpu"))
    return [engine.load_picture_network(model) for engine in both]


@pytest.fixture(scope="module")
def denoisers(scunet: State, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("scunet")
    model = stored(folder, scunet, "scunet", ".safetensors")
    settings = Settings(models_dir=folder)
    both = (OnnxEngine(settings), TorchEngine(settings, "cpu"))
    return [engine.load(model) for engine in both]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96)])
def test_ddcolor_gives_what_pytorch_gives(
    colorizers: list[Any], height: int, width: int
) -> None:
    """At sizes that the graph was not exported with; a ten-thousandth of the range."""
    grey = np.repeat(photo_like(height, width, 1), 3, 2) / np.float32(255)
    found, expected = (network.run(grey) for network in colorizers)
    assert found.shape == (height, width, 2)
    assert np.ptp(expected) > 0.01
    assert np.abs(found - expected).max() <= 1e-4 * np.ptp(expected)


@pytest.mark.parametrize(
    ("shape", "bits"), [((64, 64, 3), 8), ((70, 65, 1), 16), ((1, 9, 3), 8)]
)
def test_scunet_gives_what_pytorch_gives(
    denoisers: list[Any], shape: tuple[int, int, int], bits: int
) -> None:
    """Also where the sides are no multiples of the network's."""
    pixels = photo_like(*shape, bits)
    found, expected = (network.upscale([pixels], True)[0] for network in denoisers)
    assert (found.shape, found.dtype) == (pixels.shape, pixels.dtype)
    assert difference(found, expected).max() <= (1 if bits == 8 else 16)


@pytest.mark.parametrize("name", sorted(export_graphs.SOURCES))
def test_a_graph_takes_exactly_the_weights_of_its_network(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each tensor of the state dictionary, under its own name; not one lies in it."""
    # They read these numbers while they are built.
    on_cpu = partial(torch.linspace, device="cpu")
    monkeypatch.setattr(torch, "linspace", on_cpu)
    with torch.device("meta"):
        network = export_graphs.SOURCES[name].network()
    shapes = {key: tuple(one.shape) for key, one in network.state_dict().items()}
    taken = onnx_graphs.weight_shapes(name)
    unused = onnx_graphs.unused(name)
    assert taken == {key: shapes[key] for key in shapes.keys() - unused}
    assert unused <= shapes.keys()
    assert len(unused) < 20
    assert len(onnx_graphs.graph(name)) < 400_000


def without_first(state: State) -> State:
    return dict(list(state.items())[1:])


def with_another(state: State) -> State:
    return state | {"another.weight": torch.ones(2)}


def of_another_shape(state: State) -> State:
    return state | {"m_head.0.weight": torch.ones(64, 3, 5, 5)}


def of_whole_numbers(state: State) -> State:
    return state | {"m_head.0.weight": state["m_head.0.weight"].to(torch.int32)}


def of_no_numbers(state: State) -> State:
    return state | {"m_head.0.weight": state["m_head.0.weight"] * float("nan")}


def of_another_network(state: State) -> State:
    return {"conv.weight": torch.ones(3)}


MISFITS = [
    (without_first, "is missing"),
    (with_another, "another.weight belongs to another network"),
    (of_another_shape, r"m_head.0.weight has the shape \(64, 3, 5, 5\)"),
    (of_whole_numbers, "int32 in place of floats"),
    (of_no_numbers, "m_head.0.weight holds NaN"),
    (of_another_network, "no scunet"),
]


@pytest.mark.parametrize(("change", "fault"), MISFITS)
def test_weights_that_do_not_fit_are_refused_by_name(
    scunet: State, tmp_path: Path, change: Any, fault: str
) -> None:
    """File and fault; nothing is loaded."""
    settings = Settings(models_dir=tmp_path)
    model = stored(tmp_path, change(scunet), "scunet", ".pth")
    with pytest.raises(PermanentError, match=fault) as caught:
        OnnxEngine(settings).load(model)
    assert caught.value.code == Code.MODEL_CORRUPT
    assert "scunet.pth" in caught.value.detail


def test_half_precision_weights_are_widened(scunet: State, tmp_path: Path) -> None:
    halved = {name: one.half() for name, one in scunet.items()}
    model = stored(tmp_path, halved, "scunet", ".pth")
    network = OnnxEngine(Settings(models_dir=tmp_path)).load(model)
    assert network.upscale([photo_like(64, 64)], alone=True)[0].any()


def test_a_network_for_tiles_is_none_for_pictures(tmp_path: Path) -> None:
    engine = OnnxEngine(Settings(models_dir=tmp_path))
    for load, name in (
        (engine.load, "ddcolor-modelscope"),
        (engine.load_picture_network, "scunet-psnr"),
    ):
        with pytest.raises(PermanentError, match="not what its step needs"):
            load(get(name))


class Broken:
    """A session of ONNX Runtime that fails, or gives no numbers."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome

    def run(self, *_: Any) -> Any:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return [self.outcome]


@pytest.fixture
def session(denoisers: list[Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A loaded session, whose inside a test may replace."""
    session = denoisers[0]._session
    monkeypatch.setattr(session, "_session", session._session)
    return session


def test_no_memory_is_told_apart_from_other_faults(session: Any) -> None:
    planes = np.zeros((1, 3, 64, 64), np.float32)
    session._session = Broken(RuntimeError("Failed to allocate memory for 9 bytes"))
    with pytest.raises(OutOfMemory, match="9 bytes"):
        session.run(picture=planes)
    session._session = Broken(RuntimeError("a bad shape"))
    with pytest.raises(RuntimeError, match="a bad shape"):
        session.run(picture=planes)


def test_nan_from_the_network_is_a_fault(session: Any) -> None:
    session._session = Broken(np.full((1, 3, 64, 64), np.nan, np.float32))
    with pytest.raises(PermanentError) as caught:
        session.run(picture=np.zeros((1, 3, 64, 64), np.float32))
    assert caught.value.code == Code.INVALID_OUTPUT


def test_a_picture_that_does_not_fit_is_told_before(
    colorizers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux would kill the worker."""
    monkeypatch.setattr(memory, "available_bytes", lambda: 10_000_000)
    with pytest.raises(OutOfMemory, match="64 x 64 px"):
        colorizers[0].run(np.zeros((64, 64, 3), np.float32))


# which engine


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpu_worker.engines.registry.GPU_DEVICES", ())


@pytest.mark.parametrize("engine", ["auto", "onnxruntime"])
@pytest.mark.parametrize("name", ["ddcolor-modelscope", "scunet-psnr"])
def test_networks_with_a_graph_run_on_onnxruntime(
    without_gpu: None, engine: Any, name: str
) -> None:
    """Without CUDA; what ncnn has stays there, the rest goes to torch."""
    chosen = engines.select(Settings(engine=engine))
    assert isinstance(chosen, AutoEngine)
    serving = engines.serving(chosen, get(name))
    assert (serving.name, serving.device) == ("onnxruntime", "cpu")
    assert engines.serving(chosen, get("realesrgan-x4plus")) is chosen
    chosen.check(get(name))


def test_torch_is_never_imported_for_them() -> None:
    code = """
import sys
sys.modules["torch"] = sys.modules["cv2"] = None
from gpu_worker.engines.auto import AutoEngine
from shared.models import get
from shared.runtime.settings import Settings
AutoEngine(Settings()).serving(get("ddcolor-modelscope"))
import gpu_worker.engines.lama
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_provider_that_is_not_installed_is_told_with_those_that_are() -> None:
    with pytest.raises(SettingsError, match=r"names Nope.*CPUExecutionProvider"):
        OnnxEngine(Settings(onnx_providers="CPUExecutionProvider,Nope"))


def test_a_provider_that_does_not_start_computes_nothing_in_silence(
    scunet: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime would go on with the CPU, and the record would lie."""
    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    settings = Settings(models_dir=tmp_path, onnx_providers="CUDAExecutionProvider")
    engine = OnnxEngine(settings)
    assert engine.device == "CUDAExecutionProvider"
    assert engine._providers == available
    opened = onnx_session.onnxruntime.InferenceSession

    def cpu_only(graph: Any, options: Any, providers: Any) -> Any:
        return opened(graph, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnx_session.onnxruntime, "InferenceSession", cpu_only)
    with pytest.raises(Missing, match="does not start"):
        engine.load(stored(tmp_path, scunet, "scunet", ".pth"))


def test_every_architecture_of_the_registry_is_known() -> None:
    from gpu_worker.engines import architectures

    for model in registry().values():
        assert architectures.of(model) is not None, model.name
    for known in architectures.ARCHITECTURES.values():
        for graph in known.graphs:
            assert (onnx_engine.onnx_graphs.FOLDER / f"{graph}.onnx.gz").is_file()
