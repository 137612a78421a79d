"""A mask that a person drew: strokes of a brush, as text."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image, ImageDraw

from gpu_worker.photo import Mask
from shared.errors import Code, PermanentError

_STROKE = re.compile(r"\s*(\d{1,4})((?:\s+\d{1,6},\d{1,6})+)\s*", re.ASCII)
MOST_SHOWN = 80


def drawn(strokes: str, width: int, height: int) -> Mask:
    """The mask (height, width) of strokes such as `9 120,40 180,300; 15 20,20`: of each
    the width of the brush and the points that it goes through, x and y from the left
    top, all in pixels.

    Raises `PermanentError(bad_parameter)` for what is written in another way, and for
    strokes of which none touches the photo.
    """
    sheet = Image.new("L", (width, height))
    pen = ImageDraw.Draw(sheet)
    for stroke in strokes.split(";"):
        found = _STROKE.fullmatch(stroke)
        if found is None:
            raise _bad(f"mask has the stroke {stroke[:MOST_SHOWN]!r}")
        _draw(pen, int(found[1]), found[2])
    mask = np.asarray(sheet) > 0
    if not mask.any():
        raise _bad(f"no stroke of mask touches the photo of {width} x {height} px")
    return mask


def _draw(pen: ImageDraw.ImageDraw, brush: int, text: str) -> None:
    points = []
    for pair in text.split():
        x, y = pair.split(",")
        points.append((int(x), int(y)))
    pen.line(points, 255, max(1, brush))
    # The ends and bends of a brush are round.
    for point in points:
        pen.circle(point, brush / 2, 255)


def _bad(fault: str) -> PermanentError:
    detail = (
        f"{fault}; a stroke is the width of the brush and points, in pixels of the "
        "upright photo, as in 9 120,40 180,300; strokes are separated by semicolons"
    )
    return PermanentError(Code.BAD_PARAMETER, detail)
