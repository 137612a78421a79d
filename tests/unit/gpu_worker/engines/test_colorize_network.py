"""DDColor's network with random weights: loaded from an official file, run in a
workflow, and its faults named.
"""

# ruff: noqa: E402 - nothing of torch may be imported before `needs`

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.support.extras import needs
from tests.support.pictures import photo_like

needs("torch", "torch")

import torch

from gpu_worker.engines import OutOfMemory, compat
from gpu_worker.engines.auto import AutoEngine
from gpu_worker.engines.ncnn_engine import NcnnEngine
from gpu_worker.engines.torch_engine import TorchEngine
from gpu_worker.photo import Photo
from gpu_worker.pixels import memory
from gpu_worker.restore import restore
from shared import workflows
from shared.errors import Code, NotFound, PermanentError
from shared.models import Model, ModelFile, get
from shared.runtime.settings import Settings
from tests.support.colour_stand_in import Floats, StandIn, coloured


def tamed(folder: Path) -> tuple[Model, torch.nn.Module]:
    """DDColor's small variant with random weights, stored as the official files are;
    and the bare network.

    Its last layer is tamed: its colours would otherwise reach 1e14.
    """
    compat.spandrel()
    from spandrel_extra_arches.architectures.DDColor import DDColor

    torch.manual_seed(0)
    network = DDColor(
        encoder_name="convnext-t",
        num_output_channels=2,
        last_norm="Spectral",
        num_queries=100,
        num_scales=3,
        dec_layers=9,
    )
    state = network.eval().state_dict()
    state["refine_net.0.0.weight_orig"][:, :100] *= 1e-15
    path = folder / "ddcolor.pth"
    torch.save({"params": state}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    file = ModelFile(role="weights", sha256=digest, path=path.name)
    model = Model(
        name="toy-ddcolor", architecture="ddcolor", title="", licence="", files=[file]
    )
    return model, network


@pytest.fixture(scope="module")
def bare_and_toy(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[torch.nn.Module, tuple[Model, Settings]]:
    folder = tmp_path_factory.mktemp("models")
    model, network = tamed(folder)
    return network, (model, Settings(models_dir=folder))


@pytest.fixture(scope="module")
def toy(
    bare_and_toy: tuple[torch.nn.Module, tuple[Model, Settings]],
) -> tuple[Model, Settings]:
    return bare_and_toy[1]


def test_ddcolor_runs_from_an_official_file(
    bare_and_toy: tuple[torch.nn.Module, tuple[Model, Settings]],
) -> None:
    """The network of the file, its output unchanged: (s, s, 3) in, the same ab as the
    bare network out.
    """
    bare, (model, settings) = bare_and_toy
    grey = np.repeat(photo_like(64, 64, 1), 3, 2).astype(np.float32) / np.float32(255)
    found = TorchEngine(settings, "cpu").load_picture_network(model).run(grey)
    with torch.inference_mode():
        expected = (
            bare(torch.from_numpy(grey.transpose(2, 0, 1).copy())[None])[0]
            .permute(1, 2, 0)
            .numpy()
        )
    assert found.shape == (64, 64, 2)
    assert np.array_equal(found, expected)
    assert np.abs(found).max() > 0.01


def test_the_workflow_runs_end_to_end(
    toy: tuple[Model, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`portrait` on the engines of a machine without a GPU: ONNX Runtime is chosen for
    the model that ncnn does not have.
    """
    from shared import models

    model, settings = toy
    monkeypatch.setitem(models.registry(), "ddcolor-modelscope", model)
    workflow = workflows.resolve("portrait", {"model_size": 460})
    done = restore(
        Photo(photo_like(70, 50, 1)),
        workflow,
        AutoEngine(settings),
        settings,
        lambda done: None,
    )
    assert done.photo.pixels.shape == (70, 50, 3)
    assert (done.engine, done.device) == ("onnxruntime", "cpu")
    assert done.steps[0].model == "toy-ddcolor"
    assert done.steps[0].detail == {
        "model_size": 460,
        "effective_size": 448,
        "color_factor": 1.0,
    }


def test_a_colorizer_is_no_upscaler_and_the_other_way_round(
    toy: tuple[Model, Settings], tmp_path: Path
) -> None:
    """An entry that names the wrong kind is refused."""
    model, settings = toy
    for load in (
        TorchEngine(settings, "cpu").load,
        lambda _: TorchEngine(settings, "cpu").load_picture_network(
            get("realesr-animevideov3")
        ),
    ):
        with pytest.raises(PermanentError, match="not what its entry says") as caught:
            load(model)
        assert caught.value.code == Code.MODEL_CORRUPT


def test_nan_from_the_network_is_a_fault(toy: tuple[Model, Settings]) -> None:
    """Never a grey or black picture stored as success."""
    network = TorchEngine(toy[1], "cpu").load_picture_network(toy[0])
    with torch.no_grad():
        network._network.refine_net[0][0].bias.fill_(float("nan"))
    with pytest.raises(PermanentError) as caught:
        network.run(np.zeros((64, 64, 3), np.float32))
    assert caught.value.code == Code.INVALID_OUTPUT


def test_weights_that_are_not_here_name_the_command(tmp_path: Path) -> None:
    """The engine is there, the 912 MB are not."""
    engine = AutoEngine(Settings(models_dir=tmp_path))
    with pytest.raises(
        NotFound, match="darkroom models pull ddcolor-modelscope"
    ) as caught:
        coloured(Photo(photo_like(8, 8)), engine.serving(get("ddcolor-modelscope")))
    assert caught.value.code == Code.MODEL_MISSING


def test_an_engine_that_cannot_colour_names_the_way_out() -> None:
    """ncnn was named in the settings."""
    with pytest.raises(
        NotFound, match=r"DARKROOM_ENGINE=auto.*models pull ddcolor-modelscope"
    ) as caught:
        coloured(Photo(photo_like(8, 8)), NcnnEngine(Settings()))
    assert caught.value.code == Code.MODEL_MISSING


def test_what_the_host_cannot_hold_is_not_begun(
    toy: tuple[Model, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux grants memory that it does not have, and then kills."""
    network = TorchEngine(toy[1], "cpu").load_picture_network(toy[0])
    monkeypatch.setattr(memory, "available_bytes", lambda: 1_000_000)
    with pytest.raises(OutOfMemory):
        network.run(np.zeros((64, 64, 3), np.float32))


def test_no_memory_names_a_smaller_size() -> None:
    """There are no tiles to halve: the network needs the whole picture."""

    def raises_out_of_memory(grey: Floats) -> Floats:
        raise OutOfMemory("no room")

    with pytest.raises(PermanentError, match="smaller model_size") as caught:
        coloured(Photo(photo_like(8, 8)), StandIn(raises_out_of_memory))
    assert caught.value.code == Code.OUT_OF_MEMORY
