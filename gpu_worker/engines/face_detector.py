"""YuNet finds faces, on ONNX Runtime.

The published graph takes squares of one size. A larger picture is searched in such
squares, overlapping, for small faces, and once reduced to one square for large ones;
what is found twice counts once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from gpu_worker.pixels import area

SIDE_PX = 640
OVERLAP_PX = 240
"""Faces up to this size lie whole in one of the squares."""
STRIDES = (8, 16, 32)
"""The cells of the graph's three outputs, in pixels."""
SAME_FACE = 0.3
"""The share of overlap from which two detections are one face."""

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Faces:
    """n faces: scores (n,), boxes (n, 4) as left, top, right, bottom, and five points
    each (n, 5, 2), positions (x, y) in pixels.
    """

    scores: Floats
    boxes: Floats
    points: Floats

    def moved(self, x: float, y: float, factor: float) -> Faces:
        """The same faces in a picture that is `factor` times as large, and in which
        theirs begins at (x, y).
        """
        shift = np.array([x, y], np.float32)
        boxes = self.boxes.reshape(-1, 2, 2) * np.float32(factor) + shift
        points = self.points * np.float32(factor) + shift
        return Faces(self.scores, boxes.reshape(-1, 4), points)

    def chosen(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> Faces:
        return Faces(self.scores[which], self.boxes[which], self.points[which])


def find(detector: Path, bgr: Picture, certain: float) -> Faces:
    """The faces in a picture (h, w, 3), 8 bits, BGR, whose score is at least `certain`;
    the surest first.
    """
    session = onnxruntime.InferenceSession(
        str(detector), providers=["CPUExecutionProvider"]
    )
    height, width, _ = bgr.shape
    found = []
    factor = min(1.0, SIDE_PX / max(height, width))
    if factor < 1:
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        whole = cast(Picture, area.reduce(bgr, size))
        found.append(_in_square(session, whole, certain).moved(0, 0, 1 / factor))
    for top in _starts(height):
        for left in _starts(width):
            window = bgr[top : top + SIDE_PX, left : left + SIDE_PX]
            found.append(_in_square(session, window, certain).moved(left, top, 1))
    return _each_once(_together(found))


def _starts(length: int) -> list[int]:
    """Where the squares begin along a side."""
    last = max(0, length - SIDE_PX)
    count = -(-last // (SIDE_PX - OVERLAP_PX)) + 1
    return [round(number * last / max(1, count - 1)) for number in range(count)]


def _in_square(
    session: onnxruntime.InferenceSession, window: Picture, certain: float
) -> Faces:
    """The faces in a window of at most the square's side; black lies beyond it."""
    height, width, _ = window.shape
    square = np.zeros((SIDE_PX, SIDE_PX, 3), np.float32)
    square[:height, :width] = window
    planes = np.ascontiguousarray(square.transpose(2, 0, 1)[np.newaxis])
    feed = {session.get_inputs()[0].name: planes}
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(None, feed), strict=True))
    return _together([_at(outputs, stride, certain) for stride in STRIDES])


def _at(outputs: dict[str, Floats], stride: int, certain: float) -> Faces:
    """What one of the three outputs says."""
    classes, objects, boxes, points = (
        outputs[f"{kind}_{stride}"][0] for kind in ("cls", "obj", "bbox", "kps")
    )
    scores = np.sqrt(np.clip(classes[:, 0], 0, 1) * np.clip(objects[:, 0], 0, 1))
    cells = np.flatnonzero(scores >= certain)
    row, column = np.divmod(cells, SIDE_PX // stride)
    corner = np.stack([column, row], 1).astype(np.float32)
    centre = (corner + boxes[cells, :2]) * stride
    half = np.exp(boxes[cells, 2:]) * stride / 2
    five = (points[cells].reshape(-1, 5, 2) + corner[:, np.newaxis]) * stride
    edges = np.concatenate([centre - half, centre + half], 1)
    return Faces(scores[cells], edges, five)


def _together(parts: list[Faces]) -> Faces:
    return Faces(
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.points for part in parts]),
    )


def _each_once(faces: Faces) -> Faces:
    """The surest of detections that overlap."""
    left = faces.chosen(np.argsort(-faces.scores, kind="stable"))
    kept = []
    while len(left.scores):
        kept.append(left.chosen(np.array([0])))
        shares = _overlaps(left.boxes[0], left.boxes)
        is_other = shares <= SAME_FACE
        is_other[0] = False
        left = left.chosen(is_other)
    return _together(kept) if kept else left


def _overlaps(one: Floats, others: Floats) -> Floats:
    """(n,): intersection over union with each of the others."""
    low = np.maximum(one[:2], others[:, :2])
    high = np.minimum(one[2:], others[:, 2:])
    common = np.clip(high - low, 0, None).prod(1)
    sizes = np.clip(others[:, 2:] - others[:, :2], 0, None).prod(1)
    whole = np.clip(one[2:] - one[:2], 0, None).prod() + sizes - common
    shares: Floats = common / np.maximum(whole, np.float32(1e-9))
    return shares
