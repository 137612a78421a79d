"""Stored results in other formats."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gpu_worker.codec import XMP_KEYWORD, Decoder
from gpu_worker.convert import convert, xmp_of
from shared.runtime.settings import Settings

PACKET = '<x:xmpmeta xmlns:x="adobe:ns:meta/">Großmutter 祖母</x:xmpmeta>'
SETTINGS = Settings()


def png(side: int = 40) -> bytes:
    about = PngInfo()
    about.add_itxt("Comment", "no XMP")
    about.add_itxt(XMP_KEYWORD, PACKET)
    out = io.BytesIO()
    picture = Image.linear_gradient("L").resize((side, 30)).convert("RGB")
    picture.save(out, "PNG", pnginfo=about, dpi=(600, 600))
    return out.getvalue()


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    found = Decoder(SETTINGS)
    yield found
    found.close()


@pytest.mark.parametrize("file_format", ["jpeg", "webp", "tiff", "jp2"])
def test_a_copy_says_what_the_result_says(decoder: Decoder, file_format: str) -> None:
    out = io.BytesIO()
    assert convert(png(), file_format, out, decoder, SETTINGS) is None  # type: ignore[arg-type]
    found = Image.open(out)
    name = "JPEG2000" if file_format == "jp2" else file_format.upper()
    assert found.format == name
    assert found.size == (40, 30)
    assert PACKET.encode() in out.getvalue()
    if file_format == "jpeg":
        assert found.info["dpi"] == (600, 600)


def test_a_labelled_copy_differs_in_its_corner_alone(decoder: Decoder) -> None:
    pixels = []
    for is_labelled in (False, True):
        out = io.BytesIO()
        picture = Image.new("RGB", (400, 300), "grey")
        data = io.BytesIO()
        picture.save(data, "PNG")
        convert(data.getvalue(), "jp2", out, decoder, SETTINGS, is_labelled=is_labelled)
        pixels.append(np.asarray(Image.open(out)).astype(int))
    changed = np.argwhere(np.abs(pixels[0] - pixels[1]).max(axis=2) > 0)
    assert changed.min(axis=0)[0] > 200
    assert changed.max(axis=0).tolist() == [299, 399]


def test_a_format_that_has_no_room_is_told(decoder: Decoder) -> None:
    out = io.BytesIO()
    told = convert(png(side=17_000), "webp", out, decoder, SETTINGS)
    assert told
    assert "17000 x 30 px are too many" in told
    assert not out.getvalue()


def test_a_png_without_xmp_has_none() -> None:
    out = io.BytesIO()
    Image.new("L", (4, 4)).save(out, "PNG")
    assert xmp_of(out.getvalue()) == ""
