"""The visible label: a short text in the lower right corner of a picture, in any script
the font has.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

from gpu_worker.photo import Photo
from shared.errors import SettingsError
from shared.runtime.installation import how_to_add
from shared.runtime.settings import LabelSettings

KEPT_FONT = Path(__file__).with_name("fonts") / "labels.otf"
"""Noto Sans SC without most of its letters: those of Europe, kana, and the Chinese ones
of usual labels are left.
"""

_HEIGHT = 0.05  # of the shorter side: what GB 45438-2025 asks for at least
_WIDTH = 0.9
_SHADE = 0.55
_MIN_PX = 10


def check_label(settings: LabelSettings) -> None:
    """Raises `SettingsError` where a label is asked for that the fonts at hand cannot
    draw. Called at start.
    """
    if not (settings.label_preview or settings.label_result):
        return
    if missing := sorted(
        set(settings.label_text) - {c for c in settings.label_text if _has_glyph(c)}
    ):
        raise SettingsError(
            f"DARKROOM_LABEL_TEXT: no font at hand has {''.join(missing)!r}; "
            f"{how_to_add('labels')}, or choose a text in other letters"
        )


def stamp(photo: Photo, text: str) -> None:
    """Draw `text` into the lower right corner of `photo`, in place; only that corner is
    touched.
    """
    patch = _patch(text, photo.width, photo.height)
    if patch is None:
        return
    height, width = patch.shape
    corner = photo.pixels[-height:, -width:]
    top = np.iinfo(corner.dtype).max
    ground = corner * (1 - _SHADE)
    if photo.alpha is not None:
        # The label must show where the picture is transparent; what hides there must
        # not.
        ground *= photo.alpha[-height:, -width:, None] / top
        photo.alpha[-height:, -width:] = top
    letters = patch[..., None]
    corner[:] = np.rint(ground * (1 - letters) + letters * top)


def _patch(text: str, width: int, height: int) -> NDArray[np.float32] | None:
    """Coverage 0…1 of the letters on their dark ground, (height, width); None in a
    picture too small for any.
    """
    size = max(_MIN_PX, round(min(width, height) * _HEIGHT))
    box = _font(size).getbbox(text)
    if box[2] > width * _WIDTH:
        size = int(size * width * _WIDTH / box[2])
    if size < _MIN_PX // 2 or not text:
        return None
    font = _font(size)
    margin = max(2, size // 3)
    left, top, right, bottom = (round(v) for v in font.getbbox(text))
    patch = np.zeros((bottom - top + 2 * margin, right - left + 2 * margin), np.float32)
    if patch.shape[0] > height or patch.shape[1] > width:
        return None
    mask, offset = font.getmask2(text, mode="L")
    letters = np.array(mask, dtype=np.float32).reshape(mask.size[::-1]) / 255
    y, x = margin + offset[1] - top, margin + offset[0] - left
    patch[y : y + letters.shape[0], x : x + letters.shape[1]] = letters
    return patch


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_font_file()), size)


def _font_file() -> Path:
    """Noto Sans SC: the whole font where its package is installed, else the part of it
    that is kept here.
    """
    try:
        package = import_module("pylopdf_fonts_zh_cn")
    except ImportError:
        return KEPT_FONT
    return Path(package.sans_path())


def _has_glyph(character: str) -> bool:
    # A font draws every character it lacks as the same box, that of a code point nobody
    # has.
    font = _font(24)
    return character.isspace() or bytes(font.getmask(character)) != bytes(
        font.getmask("\U0010ffff")
    )
