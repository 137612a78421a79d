"""A PNG whose pixel stream ends early, but properly, is refused: its decoder would fill
up the rest in silence.
"""

from __future__ import annotations

import struct
import zlib

import pytest
from PIL import Image

from gpu_worker.codec import Limits, decode
from gpu_worker.codec.png_completeness import is_whole
from shared.errors import Code, PermanentError
from tests.support.codec_samples import noise, png, saved
from tests.support.hostile_fields import PNG_MAGIC, chunk


def grey(width: int, height: int, rows: int) -> bytes:
    """A PNG that has `rows` of its rows, in two chunks."""
    stream = zlib.compress(bytes(width + 1) * rows)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", stream[:9]) + chunk(b"IDAT", stream[9:])
    return PNG_MAGIC + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("rows", [0, 1, 50, 99])
def test_missing_rows_are_noticed(rows: int) -> None:
    """However many; with all of them the picture passes."""
    with pytest.raises(PermanentError, match="rows are missing") as caught:
        decode(grey(40, 100, rows), Limits())
    assert caught.value.code is Code.DECODE_ERROR
    assert decode(grey(40, 100, 100), Limits()).height == 100


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 3), (33, 2000)])
def test_sound_pictures_of_every_depth_are_whole(
    mode: str, size: tuple[int, int]
) -> None:
    """Rows are counted to the byte."""
    assert is_whole(saved(Image.new(mode, size), "PNG"))


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_sixteen_bits_are_whole(samples: int) -> None:
    """Two bytes a sample."""
    assert is_whole(png(noise((30, 20, samples)).astype(">u2")))


@pytest.mark.parametrize(("side", "stored"), [(1, 2), (2, 7), (5, 36), (8, 79)])
def test_interlaced_rows_are_counted_by_pass(side: int, stored: int) -> None:
    """Each of the seven passes has rows of its own: so many bytes for a grey picture,
    and not one less.
    """
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 1))
    whole, less = (
        PNG_MAGIC + header + chunk(b"IDAT", zlib.compress(bytes(n)))
        for n in (stored, stored - 1)
    )
    assert is_whole(whole)
    assert not is_whole(less)
