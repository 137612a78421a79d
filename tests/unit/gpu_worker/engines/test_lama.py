"""LaMa on ONNX Runtime, with a stand-in for its file: holes are filled, and nothing
else changes.
"""

# ruff: noqa: E402 - onnx may not be imported before `needs`

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.support.extras import needs
from tests.support.pictures import photo_like

needs("onnx", "test")

from onnx import TensorProto, helper

from gpu_worker.engines.lama import LamaInpainter
from shared.errors import Code, NotFound, PermanentError
from shared.models import Model, ModelFile, get
from shared.runtime.settings import Settings

SIDE = 512
FILL = 200.0


def stand_in(folder: Path) -> Model:
    """A graph with LaMa's inputs and output: holes become a light grey, all else comes
    out as it went in, 0..255.
    """
    shape = (1, 3, SIDE, SIDE)
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["image", "white"], ["levels"]),
            helper.make_node("Cast", ["mask"], ["is_hole"], to=TensorProto.BOOL),
            helper.make_node("Where", ["is_hole", "fill", "levels"], ["output"]),
        ],
        "stand-in",
        [
            helper.make_tensor_value_info("image", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info(
                "mask", TensorProto.FLOAT, (1, 1, SIDE, SIDE)
            ),
        ],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor("white", TensorProto.FLOAT, (), [255.0]),
            helper.make_tensor("fill", TensorProto.FLOAT, (), [FILL]),
        ],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
    content = model.SerializeToString()
    (folder / "lama.onnx").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    file = ModelFile(role="weights", sha256=digest, path="lama.onnx")
    return Model(
        name="toy-lama", architecture="lama", title="", licence="", files=[file]
    )


@pytest.fixture
def inpainter(tmp_path: Path) -> LamaInpainter:
    return LamaInpainter(stand_in(tmp_path), Settings(models_dir=tmp_path))


@pytest.mark.parametrize(
    ("height", "width"), [(512, 512), (100, 60), (300, 512), (700, 900), (1, 3)]
)
def test_holes_are_filled_and_nothing_else_changes(
    inpainter: LamaInpainter, height: int, width: int
) -> None:
    """Smaller than the network's side and larger, of any shape."""
    window = photo_like(height, width)
    mask = np.zeros((height, width), bool)
    mask[height // 3 : height // 2 + 1, width // 4 : width // 2 + 1] = True
    before = window.copy()
    found = inpainter.fill(window, mask)
    assert (found.shape, found.dtype) == (window.shape, np.uint8)
    assert np.array_equal(found[~mask], window[~mask])
    # Where the window was reduced, a hole's rim is mixed with what lies beside it.
    off = np.abs(found[mask] - FILL)
    assert off.max() == 0 if max(height, width) <= SIDE else off.mean() < 3
    assert np.array_equal(window, before)


def test_a_window_without_holes_comes_back_as_it_is(inpainter: LamaInpainter) -> None:
    window = photo_like(20, 30)
    assert np.array_equal(inpainter.fill(window, np.zeros((20, 30), bool)), window)


def test_a_file_that_is_not_here_or_not_the_pinned_one_is_not_loaded(
    tmp_path: Path,
) -> None:
    settings = Settings(models_dir=tmp_path)
    with pytest.raises(NotFound, match="darkroom models pull lama"):
        LamaInpainter(get("lama"), settings)
    model = stand_in(tmp_path)
    path = tmp_path / "lama.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(PermanentError) as caught:
        LamaInpainter(model, settings)
    assert caught.value.code == Code.MODEL_CORRUPT
