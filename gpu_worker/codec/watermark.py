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
_SLASH = " / "
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
    lines, size = _layout(text, width, height)
    if size < _MIN_PX // 2 or not text:
        return None
    strips = [_line(line, size) for line in lines]
    patch_height = sum(strip.shape[0] for strip in strips)
    patch_width = max(strip.shape[1] for strip in strips)
    if patch_height > height or patch_width > width:
        return None
    patch = np.zeros((patch_height, patch_width), np.float32)
    top = 0
    for strip in strips:
        bottom = top + strip.shape[0]
        patch[top:bottom, : strip.shape[1]] = strip
        top = bottom
    return patch


@lru_cache(maxsize=16)
def _line(text: str, size: int) -> NDArray[np.float32]:
    """One line with its margins; nobody may write into it."""
    font = _font(size)
    margin = max(2, size // 3)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(text))
    strip = np.zeros((bottom - top + 2 * margin, right - left + 2 * margin), np.float32)
    letters, (x_offset, y_offset) = _letters(font, text)
    letters_height, letters_width = letters.shape
    y = margin + y_offset - top
    x = margin + x_offset - left
    strip[y : y + letters_height, x : x + letters_width] = letters
    strip.flags.writeable = False
    return strip


def _layout(text: str, width: int, height: int) -> tuple[list[str], int]:
    """The lines, and their size in pixels: a share of the shorter side. A text that is
    too wide takes two lines, and is smaller where even these are.
    """
    size = max(_MIN_PX, round(min(width, height) * _HEIGHT))
    most = width * _WIDTH
    lines = [text]
    if _width(text, size) > most:
        lines = _halves(text)
    widest = max(_width(line, size) for line in lines)
    if widest > most:
        size = int(size * most / widest)
    return lines, size


@lru_cache(maxsize=32)
def _width(line: str, size: int) -> float:
    return _font(size).getbbox(line)[2]


def _halves(text: str) -> list[str]:
    """The text in two lines: at a slash that parts languages, else at the blank in its
    middle.
    """
    if _SLASH in text:
        first, _, second = text.partition(_SLASH)
        return [first.strip(), second.strip()]
    blanks = [at for at, letter in enumerate(text) if letter == " "]
    if not blanks:
        return [text]
    middle = min(blanks, key=lambda at: abs(at - len(text) / 2))
    return [text[:middle], text[middle + 1 :]]


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
