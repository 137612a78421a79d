"""YuNet's answers read without OpenCV: what OpenCV's own detector reads of the same
graph, a stand-in with random weights.
"""

# ruff: noqa: E402 - cv2 and onnx may not be imported before `needs`

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from tests.support.extras import needs
from tests.support.pictures import photo_like

needs("cv2", "test")
needs("onnx", "test")

import cv2
from onnx import TensorProto, helper, numpy_helper

from gpu_worker.engines import face_detector

SIDE = face_detector.SIDE_PX
CERTAIN = 0.7
WIDTHS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph with YuNet's input and outputs: each is one convolution over a cell."""
    random = np.random.default_rng(3)
    nodes, constants, outputs = [], [], []
    for kind, width in WIDTHS.items():
        for stride in face_detector.STRIDES:
            name, cells = f"{kind}_{stride}", (SIDE // stride) ** 2
            weight = random.normal(0, 0.004 / stride, (width, 3, stride, stride))
            bias = np.full(width, 0.8 if width == 1 else 0.2)
            shape = np.array([1, cells, width], np.int64)
            for key, array in (
                ("weight", weight.astype(np.float32)),
                ("bias", bias.astype(np.float32)),
                ("shape", shape),
            ):
                constants.append(numpy_helper.from_array(array, f"{name}_{key}"))
            inputs = ["input", f"{name}_weight", f"{name}_bias"]
            strides = [stride, stride]
            nodes += [
                helper.make_node(
                    "Conv", inputs, [f"{name}_c"], strides=strides, kernel_shape=strides
                ),
                helper.make_node(
                    "Transpose", [f"{name}_c"], [f"{name}_t"], perm=[0, 2, 3, 1]
                ),
                helper.make_node("Reshape", [f"{name}_t", f"{name}_shape"], [name]),
            ]
            outputs.append(
                helper.make_tensor_value_info(
                    name, TensorProto.FLOAT, (1, cells, width)
                )
            )
    picture = helper.make_tensor_value_info(
        "input", TensorProto.FLOAT, (1, 3, SIDE, SIDE)
    )
    graph = helper.make_graph(nodes, "stand-in", [picture], outputs, constants)
    opset = helper.make_opsetid("", 11)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=6)
    path = tmp_path_factory.mktemp("yunet") / "yunet.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_one_square_gives_what_opencv_gives(detector: Path) -> None:
    """Scores and points of every cell, before those that overlap are dropped."""
    bgr = photo_like(SIDE, SIDE)
    yunet = cv2.FaceDetectorYN.create(
        str(detector), "", (SIDE, SIDE), CERTAIN, 1.0, 100_000
    )
    _, rows = yunet.detect(bgr)
    session = face_detector.onnxruntime.InferenceSession(str(detector))
    found = face_detector._in_square(session, bgr, CERTAIN)
    assert rows is not None
    assert len(found.scores) == len(rows) > 100
    ours = np.column_stack([found.scores, found.points.reshape(-1, 10)])
    theirs = np.column_stack([rows[:, 14], rows[:, 4:14]])
    for one in (ours, theirs):
        one[...] = one[np.lexsort((one[:, 2], one[:, 1]))]
    assert np.abs(ours - theirs).max() < 0.05


@pytest.mark.parametrize("shape", [(40, 60), (640, 641), (700, 1280), (1280, 90)])
def test_every_part_of_a_picture_is_searched(shape: tuple[int, int]) -> None:
    """By squares that overlap by more than a face."""
    for length in shape:
        starts = face_detector._starts(length)
        assert starts[0] == 0
        assert starts[-1] == max(0, length - SIDE)
        for before, after in itertools.pairwise(starts):
            assert 0 < after - before <= SIDE - face_detector.OVERLAP_PX


def test_a_face_in_two_squares_counts_once(
    monkeypatch: pytest.MonkeyPatch, detector: Path
) -> None:
    """The surest; faces apart stay apart."""
    box = np.array([[300, 100, 400, 200]], np.float32)
    five = np.full((1, 5, 2), 350, np.float32)
    calls = iter([0.8, 0.9, 0.85, 0.95])

    def seen(session: object, window: object, certain: float) -> face_detector.Faces:
        return face_detector.Faces(np.array([next(calls)], np.float32), box, five)

    monkeypatch.setattr(face_detector, "_in_square", seen)
    found = face_detector.find(detector, photo_like(640, 660), CERTAIN)
    assert found.scores == pytest.approx([0.9])
    monkeypatch.undo()
    assert not len(face_detector.find(detector, photo_like(40, 40), 2.0).scores)
