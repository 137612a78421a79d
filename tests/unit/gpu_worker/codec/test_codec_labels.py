"""Results say what they are: in XMP, in PNG text, and on the picture where the
settings want it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from gpu_worker.codec import (
    Decoder,
    check_label,
    preview,
    profiles,
    stamp,
    texts,
    watermark,
)
from gpu_worker.codec.png import XMP_KEYWORD
from gpu_worker.photo import Metadata, Photo
from shared.errors import SettingsError
from shared.runtime.settings import Settings
from tests.support.codec_samples import noise, workflow

TASK = "7b0d6d8e-0000-5000-8000-000000000001"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
TC260 = "{http://www.tc260.org.cn/ns/AIGC/1.0/}AIGC"
VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def _xmp(text: str) -> dict[str | Any, str | None]:
    description = ElementTree.fromstring(text).find(".//{*}Description")
    assert description is not None
    return {child.tag: child.text for child in description}


def test_png_text_says_what_was_done() -> None:
    """Task, workflow with version, signature and software are plain PNG text."""
    made = workflow("upscale")
    text = texts(TASK, made)
    assert text["Task"] == TASK
    assert text["Workflow"] == f"{made.ref.name} {made.ref.version}"
    assert text["Signature"] == made.ref.signature
    assert text["Software"].startswith("Darkroom ")


@pytest.mark.parametrize(
    ("kinds", "term"),
    [
        (("upscale",), "algorithmicallyEnhanced"),
        (("denoise", "dehaze", "upscale", "finish"), "algorithmicallyEnhanced"),
        (("colorize",), "compositeWithTrainedAlgorithmicMedia"),
        (("colorize", "upscale"), "compositeWithTrainedAlgorithmicMedia"),
        (("faces",), "compositeWithTrainedAlgorithmicMedia"),
    ],
)
def test_source_type_follows_the_steps(kinds: tuple[str, ...], term: str) -> None:
    """Enlarged and corrected is `algorithmicallyEnhanced`; with invented colours or
    faces it says so.
    """
    assert _xmp(texts(TASK, workflow(*kinds))[XMP_KEYWORD])[IPTC] == VOCABULARY + term


def test_aigc_field_is_the_standards_json() -> None:
    """`TC260:AIGC` holds the seven fields of GB 45438-2025 as JSON, whatever the
    producer is called.
    """
    value = _xmp(texts(TASK, workflow("upscale"), "影像 <\"&'> 工作室")[XMP_KEYWORD])[
        TC260
    ]
    assert value is not None
    assert json.loads(value) == {
        "Label": "1",
        "ContentProducer": "影像 <\"&'> 工作室",
        "ProduceID": TASK,
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }


def _photo(
    shape: tuple[int, int, int] = (400, 600, 3),
    dtype: Any = np.uint8,
    alpha: bool = False,
) -> Photo:
    grey = np.iinfo(dtype).max // 2
    return Photo(
        np.full(shape, grey, dtype), np.zeros(shape[:2], dtype) if alpha else None
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_label_is_drawn_into_the_corner_only(
    dtype: Any, channels: int, alpha: bool
) -> None:
    """The label changes the lower right corner and nothing else, is white on dark, and
    is opaque.
    """
    photo = _photo((400, 600, channels), dtype, alpha)
    stamp(photo, "AI-enhanced / AI 修复")
    changed = np.argwhere((photo.pixels != np.iinfo(dtype).max // 2).any(axis=2))
    assert changed[:, 0].min() > 340
    assert changed[:, 1].min() > 300
    assert changed.max(axis=0).tolist() == [399, 599]
    label = photo.pixels[changed[:, 0].min() :, changed[:, 1].min() :]
    assert label.max() == np.iinfo(dtype).max
    assert label.min() < np.iinfo(dtype).max * 0.3
    if photo.alpha is not None:
        assert (photo.alpha == np.iinfo(dtype).max).sum() == label[..., 0].size


def test_label_is_high_enough_to_be_seen() -> None:
    """Letters are at least a twentieth of the shorter side, on a picture of any size."""
    photo = _photo((2000, 3000, 3))
    stamp(photo, "AI 修复")
    rows = np.flatnonzero((photo.pixels > 200).any(axis=(1, 2)))
    # ink is a part of the letter's height
    assert rows.max() - rows.min() >= 0.7 * 0.05 * 2000


@pytest.mark.parametrize("shape", [(1000, 1000, 3), (3000, 2000, 3), (800, 1200, 3)])
def test_the_default_label_is_a_twentieth_high_on_every_photo(
    shape: tuple[int, int, int],
) -> None:
    """It is never made smaller; where one line would be too wide there are two."""
    text = str(Settings().label_text)
    lines, size = watermark._layout(text, shape[1], shape[0])
    assert size >= round(0.05 * min(shape[:2]))
    long = f"{text} · Archiv"
    lines, size = watermark._layout(long, 1000, 1000)
    assert (len(lines), size) == (2, 50)
    photo = _photo(shape)
    stamp(photo, long)
    assert (photo.pixels > 200).any()


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 1000, 3), (1000, 3, 1), (20, 20, 3)])
def test_picture_too_small_for_a_label(shape: tuple[int, int, int]) -> None:
    """A picture with no room for letters stays as it is."""
    photo = _photo(shape)
    before = photo.pixels.copy()
    stamp(photo, "AI-enhanced / AI 修复")
    assert (photo.pixels == before).all()


def test_chinese_letters_are_really_drawn() -> None:
    """Different characters leave different ink: none is the empty box of a missing
    letter.
    """
    inks = set()
    for character in "人工智能修复":
        photo = _photo()
        stamp(photo, character)
        inks.add(photo.pixels.tobytes())
    assert len(inks) == 6


@pytest.fixture
def _kept_font_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without the package of the whole font."""
    monkeypatch.setattr(watermark, "_font_file", lambda: watermark.KEPT_FONT)
    watermark._font.cache_clear()
    yield
    watermark._font.cache_clear()


@pytest.mark.usefixtures("_kept_font_only")
def test_letters_without_a_font_are_refused_at_start() -> None:
    """Without a font for them rare letters stop the start, naming letters, setting and
    extra; the default label needs no more than is kept here.
    """
    with pytest.raises(SettingsError, match=r"LABEL_TEXT.*龘.*\[labels\]"):
        check_label(Settings(label_text="AI 龘"))
    check_label(Settings())
    check_label(Settings(label_text="Généré par l'IA"))
    check_label(Settings(label_text="AI 龘", label_preview=False))


def test_the_kept_letters_are_those_of_the_whole_font(
    request: pytest.FixtureRequest,
) -> None:
    whole, kept = _photo((400, 600, 3)), _photo((400, 600, 3))
    text = str(Settings().label_text)
    stamp(whole, text)
    request.getfixturevalue("_kept_font_only")
    stamp(kept, text)
    assert (whole.pixels == kept.pixels).all()


def test_default_label_can_be_drawn() -> None:
    """The default text is drawn by what the base installation brings."""
    check_label(Settings())


def _opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert image.format == "WEBP"
    return image


@pytest.mark.parametrize(
    "shape", [(400, 600, 3), (2000, 1500, 3), (5000, 40, 1), (1, 1, 3)]
)
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_preview_is_small_and_of_the_same_shape(
    shape: tuple[int, int, int], alpha: bool, dtype: Any
) -> None:
    """No side above 512 pixels, proportions kept, never enlarged."""
    photo = Photo(noise(shape, dtype), noise(shape[:2], dtype) if alpha else None)
    image = _opened(preview(photo, Settings(label_preview=False)))
    scale = min(1, 512 / max(shape))
    assert image.size == (
        max(1, round(shape[1] * scale)),
        max(1, round(shape[0] * scale)),
    )
    assert image.mode == ("RGBA" if alpha else "RGB")


def test_preview_carries_label_and_xmp() -> None:
    """By default the preview shows the label and holds the packet; a setting turns the
    visible one off.
    """
    photo, text = _photo(), texts(TASK, workflow("upscale"))
    shown = _opened(preview(photo, Settings(), text))
    plain = _opened(preview(photo, Settings(label_preview=False), text))
    assert np.asarray(shown).max() > 240
    assert np.asarray(plain).max() < 140
    assert TASK in shown.info["xmp"].decode()


def test_preview_is_in_srgb() -> None:
    """A photo in a wider space is converted, so that a viewer without colour management
    shows it right.
    """
    wide = profiles.matrix_profile(
        "wide", (0.3127, 0.3290), (0.64, 0.33, 0.21, 0.71, 0.15, 0.06), 2.2
    )
    photo = Photo(
        np.full((64, 64, 3), (100, 180, 100), np.uint8), meta=Metadata(icc=wide)
    )
    with closing(Decoder(Settings())) as decoder:
        image = _opened(
            preview(photo, Settings(label_preview=False), converter=decoder)
        )
    red, green, _ = np.asarray(image)[32, 32].astype(int)
    assert red < 60
    assert abs(green - 181) < 6
    assert "icc_profile" not in image.info


def test_transparent_colours_do_not_bleed() -> None:
    """What hides under full transparency does not tint the edge of what is seen."""
    pixels, alpha = (
        np.full((1500, 1500, 3), (255, 0, 255), np.uint8),
        np.zeros((1500, 1500), np.uint8),
    )
    pixels[:, :701], alpha[:, :701] = (10, 200, 10), 255
    image = np.asarray(
        _opened(preview(Photo(pixels, alpha), Settings(label_preview=False)))
    ).astype(int)
    seen = image[image[..., 3] > 60]
    assert np.abs(seen[:, :3] - (10, 200, 10)).max() < 30
