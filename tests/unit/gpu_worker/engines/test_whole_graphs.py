"""Networks that come as a whole ONNX graph, with a stand-in for RestoreFormer++'s file:
the range of its values, the names of its own, and every engine leaves it to ONNX
Runtime.
"""

# ruff: noqa: E402 - onnx may not be imported before `needs`

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tests.support.extras import needs
from tests.support.pictures import photo_like

needs("onnx", "test")

from onnx import TensorProto, helper

from gpu_worker import engines
from gpu_worker.engines.onnx_engine import OnnxEngine
from gpu_worker.engines.torch_engine import TorchEngine
from shared.errors import NotFound
from shared.models import Model, ModelFile
from shared.runtime.settings import Settings

SIDE = 512


@pytest.fixture
def negative(tmp_path: Path) -> tuple[Model, Settings]:
    """A graph as RestoreFormer++'s, -1..1 in and out, and a second output: a face
    becomes its negative.
    """
    shape = (1, 3, SIDE, SIDE)
    graph = helper.make_graph(
        [
            helper.make_node("Neg", ["input"], ["output"]),
            helper.make_node("Abs", ["input"], ["codes"]),
        ],
        "stand-in",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name in ("output", "codes")
        ],
    )
    opset = helper.make_opsetid("", 17)
    content = helper.make_model(
        graph, opset_imports=[opset], ir_version=9
    ).SerializeToString()
    (tmp_path / "faces.onnx").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    file = ModelFile(role="weights", sha256=digest, path="faces.onnx")
    model = Model(
        name="toy", architecture="restoreformer", title="", licence="", files=[file]
    )
    return model, Settings(models_dir=tmp_path)


def test_a_face_goes_in_and_comes_out_in_the_networks_range(
    negative: tuple[Model, Settings],
) -> None:
    model, settings = negative
    face = photo_like(SIDE, SIDE).astype(np.float32) / np.float32(255)
    found = OnnxEngine(settings).load_picture_network(model).run(face)
    assert np.abs(found - (1 - face)).max() < 1e-6


def test_torch_leaves_it_to_onnx_runtime(negative: tuple[Model, Settings]) -> None:
    """Also where torch was named: it reads no graph."""
    model, settings = negative
    engine = TorchEngine(settings, "cpu")
    assert engines.serving(engine, model).name == "onnxruntime"


def test_a_worker_without_onnx_runtime_says_so(
    negative: tuple[Model, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a photo is taken for it."""
    model, settings = negative
    engine = TorchEngine(settings, "cpu")
    plain = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name == "onnxruntime" else plain(name),
    )
    with pytest.raises(NotFound, match="needs ONNX Runtime"):
        engine.check(model)
