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

_HEIGHT = 0.05
"""Of the shorter side: the least that GB 45438-2025 allows."""
_WIDTH = 0.9
_SHADE = 0.55
_MIN_PX = 10
_UNASSIGNED = "\U0010ffff"
"""A code point that no font has."""


def check_label(settings: LabelSettings) -> None:
    """Raises `SettingsError` where a label is wanted that the fonts at hand cannot
    draw. Called at start.
    """
    if not (settings.label_preview or settings.label_result):
        return
    missing = [c for c in sorted(set(settings.label_text)) if not _has_glyph(c)]
    if missing:
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
        opacity = photo.alpha[-height:, -width:]
        ground *= opacity[..., np.newaxis] / top
        opacity[:] = top
    letters = patch[..., np.newaxis]
    corner[:] = np.rint(ground * (1 - letters) + letters * top)


def _patch(text: str, width: int, height: int) -> NDArray[np.float32] | None:
    """Coverage 0…1 of the letters on their dark ground, (height, width); None in a
    picture too small for any.
    """
    size = _font_size(text, width, height)
    if size < _MIN_PX // 2 or not text:
        return None
    font = _font(size)
    margin = max(2, size // 3)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(text))
    patch_height = bottom - top + 2 * margin
    patch_width = right - left + 2 * margin
    if patch_height > height or patch_width > width:
        return None
    letters, (x_offset, y_offset) = _letters(font, text)
    letters_height, letters_width = letters.shape
    y = margin + y_offset - top
    x = margin + x_offset - left
    patch = np.zeros((patch_height, patch_width), np.float32)
    patch[y : y + letters_height, x : x + letters_width] = letters
    return patch


def _font_size(text: str, width: int, height: int) -> int:
    """The size in pixels: a share of the shorter side, or less where the text would be
    too wide.
    """
    size = max(_MIN_PX, round(min(width, height) * _HEIGHT))
    text_width = _font(size).getbbox(text)[2]
    most = width * _WIDTH
    if text_width > most:
        return int(size * most / text_width)
    return size


def _letters(
    font: ImageFont.FreeTypeFont,
    text: str,
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Coverage 0…1 of the letters, (height, width), and where it begins, (x, y)."""
    mask, offset = font.getmask2(text, mode="L")
    width, height = mask.size
    levels = np.array(mask, dtype=np.float32)
    letters = levels.reshape(height, width) / np.float32(255)
    return letters, offset


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
    # A font draws every character that it lacks as the same box.
    font = _font(24)
    if character.isspace():
        return True
    box = bytes(font.getmask(_UNASSIGNED))
    return bytes(font.getmask(character)) != box
