"""Limits of bytes and pixels, held by what the header claims and before the rest is
read.
"""

from __future__ import annotations

import struct
import zlib

import pytest

from handlers.intake.headers import Header
from handlers.intake.probe import probe
from shared.errors import Code, PermanentError
from tests.support.probe_samples import (
    SETTINGS,
    heic,
    photos,
    pieces,
    png,
    probed,
    refused,
    saved,
)


def test_a_small_file_that_claims_many_pixels() -> None:
    """A PNG of some 300 KB with 40,000 x 40,000 pixels is refused by its header, naming
    the claim and the setting.
    """
    bomb = png(40_000, 40_000, zlib.compress(bytes(300_000_000), 1)[:300_000])
    code, detail = refused(bomb)
    assert code is Code.TOO_MANY_PIXELS
    assert "40000 x 40000 = 1,600,000,000 pixels" in detail
    assert "DARKROOM_MAX_PIXELS" in detail


def test_claims_are_refused_before_the_rest_is_read() -> None:
    """A refused body costs its first pieces, not all of them; also one that would prove
    to be cut off.
    """
    body = pieces(png(40_000, 40_000, bytes(1_000_000))[:-500], size=1000)
    with pytest.raises(PermanentError, match="too_many_pixels"):
        probe(body, SETTINGS, 1.0)
    assert len(list(body)) > 990


@pytest.mark.parametrize(
    "name",
    [
        "jpeg",
        "webp",
        "webp-alpha",
        "webp-lossless",
        "tiff",
        "bmp",
        "gif",
        "avif",
        "heic",
    ],
)
def test_every_format_is_held_to_the_limit_of_pixels(name: str) -> None:
    """37 x 23 = 851 pixels pass a limit of 851 and not one of 850."""
    data = photos()[name][0]
    assert probe(pieces(data), SETTINGS.model_copy(update={"max_pixels": 851}), 1.0)
    with pytest.raises(PermanentError, match="too_many_pixels"):
        probe(pieces(data), SETTINGS.model_copy(update={"max_pixels": 850}), 1.0)


def test_the_result_is_limited_too() -> None:
    """Four times the side is sixteen times the pixels: the limit of the output counts
    the workflow's scale.
    """
    data = png(800, 800, b"x")
    assert probed(data, scale=3.9)
    code, detail = refused(data, scale=4.0)
    assert code is Code.TOO_MANY_PIXELS
    assert "DARKROOM_MAX_OUTPUT_PIXELS" in detail
    assert "scale 4" in detail


def test_a_gif_whose_picture_is_larger_than_its_screen() -> None:
    """The screen's size is what decoders enlarge, so it is not what is believed."""
    data = bytearray(saved("P", "GIF"))
    data[6:10] = struct.pack("<HH", 1, 1)
    assert probed(bytes(data)).header == Header("GIF", 37, 23, "P")


def test_the_largest_picture_of_a_heic_counts() -> None:
    """A first small size must not hide the size of the whole."""
    assert refused(heic((16, 16), (40_000, 40_000)))[0] is Code.TOO_MANY_PIXELS


def test_the_limit_of_bytes() -> None:
    """The limit itself passes; one byte more is refused, and reading stops there."""
    data = png(10, 10, bytes(2000))
    settings = SETTINGS.model_copy(update={"max_upload_bytes": len(data)})
    assert probe(pieces(data, 100), settings, 1.0).bytes == len(data)
    body = pieces(data + bytes(100_000), 100)
    with pytest.raises(PermanentError, match="DARKROOM_MAX_UPLOAD_BYTES") as caught:
        probe(body, settings, 1.0)
    assert caught.value.code is Code.TOO_LARGE
    assert len(list(body)) > 990
