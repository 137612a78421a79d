"""A mask that a person painted: a picture, as somebody sent it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gpu_worker.photo import Mask, Photo
from shared.errors import Code, PermanentError


def painted(picture: Photo, width: int, height: int) -> Mask:
    """The mask (height, width) of a decoded picture for a photo of that size [px]: True
    where the picture is neither black nor transparent.

    A picture of the same shape is scaled. Raises `PermanentError(bad_parameter)` for one
    of another shape, in colour, or that leaves nothing to do or nothing to do it with.
    """
    marks = _marks(picture)
    _check_shape(picture, width, height)
    if marks.all():
        raise _bad("it covers all of the photo, and nothing is left to fill it from")
    if not marks.any():
        raise _bad("nothing of it is painted")
    return fitted(marks, width, height)


def fitted(marks: Mask, width: int, height: int) -> Mask:
    """`marks` in another size (height, width) [px]. Smaller, no mark is lost: a pixel is
    True where any of those that it stands for is.
    """
    if marks.shape == (height, width):
        return marks
    rows = _covering(height, marks.shape[0])
    columns = _covering(width, marks.shape[1])
    tall = np.logical_or.reduceat(marks, rows, 0)
    return np.logical_or.reduceat(tall, columns, 1)


def _covering(count: int, of: int) -> NDArray[np.intp]:
    """Where each of `count` equal parts of `of` pixels begins."""
    return np.arange(count) * of // count


def _marks(picture: Photo) -> Mask:
    pixels = picture.pixels
    first = pixels[:, :, 0]
    for channel in range(1, pixels.shape[2]):
        if not np.array_equal(first, pixels[:, :, channel]):
            raise _bad("it is in colour")
    marks = first > 0
    return marks if picture.alpha is None else marks & (picture.alpha > 0)


def _check_shape(picture: Photo, width: int, height: int) -> None:
    """Sides are whole numbers: to half a pixel of the smaller one both agree."""
    off = abs(picture.width * height - picture.height * width)
    if off > max(width, height, picture.width, picture.height):
        raise _bad(
            f"it has {picture.width} x {picture.height} px, the upright photo {width} x {height}"
        )


def _bad(fault: str) -> PermanentError:
    detail = (
        f"the mask cannot be used: {fault}; a mask is a grey picture of the upright "
        "photo's size or shape, black where nothing may change"
    )
    return PermanentError(Code.BAD_PARAMETER, detail)
