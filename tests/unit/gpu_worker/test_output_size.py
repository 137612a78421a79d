"""What no store would take is refused before the hours of work on it."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from gpu_worker.engines import Engine
from gpu_worker.photo import Photo
from gpu_worker.restore import restore
from shared.errors import Code, PermanentError
from shared.runtime.settings import Settings
from shared.workflows import resolve

SIDE = 20_000


class Begun(Exception):
    """The work began."""


class NoEngine:
    """Told of a model, it has begun."""

    def __getattr__(self, name: str) -> Any:
        raise Begun(name)


def tried(
    channels: int, dtype: type, alpha: bool = False, workflow: str = "enhance"
) -> None:
    """Twice as wide and high. The pixels take no memory."""
    pixels = np.broadcast_to(np.zeros((), dtype), (SIDE, SIDE, channels))
    photo = Photo(pixels, pixels[..., 0] if alpha else None)
    resolved = resolve(workflow, {"scale": 2} if workflow == "enhance" else {})
    restore(photo, resolved, cast(Engine, NoEngine()), Settings(), lambda _: None)


@pytest.mark.parametrize("alpha", [False, True])
def test_a_png_above_the_limit_of_one_put_is_refused(alpha: bool) -> None:
    """Sixteen bits in colour, whose lower bytes no PNG makes smaller."""
    with pytest.raises(
        PermanentError, match="no file of more than 5,000,000,000"
    ) as raised:
        tried(3, np.uint16, alpha)
    assert raised.value.code == Code.TOO_MANY_PIXELS


@pytest.mark.parametrize(
    ("channels", "dtype", "alpha"),
    [(3, np.uint8, False), (3, np.uint8, True), (1, np.uint16, False)],
)
def test_what_a_store_may_take_is_begun(
    channels: int, dtype: type, alpha: bool
) -> None:
    """In colour the pixels are 4.8 GB, with alpha 6.4 GB: the PNG is smaller."""
    with pytest.raises(Begun):
        tried(channels, dtype, alpha)
