"""The PNG writer: lossless, the same bytes every time, in bounded memory, readable by
anybody.
"""

from __future__ import annotations

import hashlib
import io
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as some
from PIL import Image

from gpu_worker.codec import Written, decode, png_row_bands, write_png
from gpu_worker.codec.png import CHUNK_BYTES, XMP_KEYWORD
from gpu_worker.photo import Metadata, Photo
from tests.support.codec_samples import LIMITS, noise, read_png


def _written(
    photo: Photo, level: int = 1, threads: int | None = None, **text: str
) -> tuple[bytes, Written]:
    file = io.BytesIO()
    written = write_png(photo, file, text, level, threads)
    return file.getvalue(), written


def _joined(photo: Photo) -> Any:
    return (
        photo.pixels if photo.alpha is None else np.dstack((photo.pixels, photo.alpha))
    )


@st.composite
def photos(draw: st.DrawFn) -> Photo:
    """Photos of every kind that exists: grey or RGB, with or without alpha, 8 or 16
    bits, from 1 x 1.
    """
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    height = draw(st.integers(1, 12))
    width = draw(st.integers(1, 12))
    channels = draw(st.sampled_from([1, 3]))
    pixels = draw(some.arrays(dtype, (height, width, channels)))
    alpha = draw(st.none() | some.arrays(dtype, (height, width)))
    return Photo(pixels, alpha)


@given(photos(), st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_every_photo_comes_back_exactly(photo: Photo, level: int) -> None:
    """Whatever pixels, depth, channels, alpha and level: the file holds them, by the
    letter of the specification.
    """
    data, _ = _written(photo, level)
    array, _ = read_png(data)
    assert (array == _joined(photo)).all()


@given(photos())
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_decoded_alike(photo: Photo) -> None:
    """`decode` after `write_png` gives the same photo."""
    again = decode(_written(photo)[0], LIMITS)
    assert again.pixels.dtype == photo.pixels.dtype
    assert (_joined(again) == _joined(photo)).all()


@pytest.fixture
def small_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many bands in a small picture."""
    monkeypatch.setattr(png_row_bands, "BAND_BYTES", 2048)


@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize(("dtype", "alpha"), [(np.uint8, False), (np.uint16, True)])
@pytest.mark.usefixtures("small_bands")
def test_bands_join(level: int, dtype: Any, alpha: bool) -> None:
    """A picture of many png_row_bands, smooth in one part and noisy in another, reads as one
    stream.
    """
    ramp = (
        np.linspace(0, np.iinfo(dtype).max, 90 * 110 * 3)
        .reshape(90, 110, 3)
        .astype(dtype)
    )
    ramp[40:] ^= noise((50, 110, 3), dtype)
    photo = Photo(ramp, noise((90, 110), dtype) if alpha else None)
    array, _ = read_png(_written(photo, level)[0])
    assert (array == _joined(photo)).all()


@pytest.mark.parametrize("level", range(4))
@pytest.mark.usefixtures("small_bands")
def test_threads_do_not_change_a_byte(level: int) -> None:
    """One thread or five: the same file."""
    photo = Photo(noise((200, 64, 3)) // 8)
    first, _ = _written(photo, level, threads=1)
    assert all(
        _written(photo, level, threads=threads)[0] == first for threads in (2, 5)
    )


def test_result_names_the_file_it_wrote() -> None:
    """SHA-256 and length are those of the bytes in the file."""
    data, written = _written(Photo(noise((20, 30, 3))))
    assert written == Written(hashlib.sha256(data).hexdigest(), len(data))


def test_levels_trade_time_for_size() -> None:
    """On a smooth picture a higher level is never larger by more than a trifle, and the
    highest is smallest.
    """
    y, x = np.mgrid[0:600, 0:800]
    red = np.sin(x / 37) * np.cos(y / 41)
    green = np.sin((x + y) / 53)
    blue = np.cos(x / 29)
    picture = np.stack([red, green, blue], axis=2)
    grain = np.random.default_rng(0).normal(0, 2, picture.shape)
    levels = np.clip(picture * 100 + 128 + grain, 0, 255)
    photo = Photo(levels.astype(np.uint8))
    sizes = [_written(photo, level)[1].bytes for level in range(4)]
    assert min(sizes) == sizes[3]
    assert sizes[1] <= sizes[0] * 1.01


def test_pixels_larger_than_memory_are_streamed(tmp_path: Path) -> None:
    """A memory-mapped picture is written without ever being in memory: 96 MB of pixels
    in less than 24 MB.
    """
    shape = (4000, 8000, 3)
    pixels = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=shape)
    pixels[:, :, 0] = np.arange(8000) % 251
    alpha = np.memmap(tmp_path / "alpha", np.uint8, "w+", shape=shape[:2])
    with (tmp_path / "out.png").open("wb") as file:
        tracemalloc.start()
        written = write_png(Photo(pixels, alpha), file, {}, 1, threads=2)
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak_bytes < 24 << 20
    assert (tmp_path / "out.png").stat().st_size == written.bytes
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (8000, 4000)
        assert image.getpixel((7999, 3999)) == (7999 % 251, 0, 0, 0)


def test_pixel_chunks_are_small() -> None:
    """No IDAT is longer than 1 MiB, however little the pixels compress."""
    data, _ = _written(Photo(noise((900, 900, 3))))
    lengths = [len(body) for kind, body in read_png_chunks(data) if kind == b"IDAT"]
    assert len(lengths) == 3
    assert max(lengths) <= CHUNK_BYTES


def read_png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


@pytest.mark.parametrize(
    "value", ["plain", "naïve café", "修复 🎞", "", "two\nlines", "x" * 10_000]
)
def test_text_is_read_back(value: str) -> None:
    """Any text survives, in the plain chunk where Latin-1 holds it and in the
    international one elsewhere.
    """
    data, _ = _written(Photo(noise((2, 2, 1))), Title=value)
    assert Image.open(io.BytesIO(data)).text == {"Title": value}  # type: ignore[attr-defined]


def test_xmp_is_where_readers_look() -> None:
    """The XMP packet is in an uncompressed iTXt chunk under Adobe's keyword."""
    file = io.BytesIO()
    write_png(Photo(noise((2, 2, 3))), file, {XMP_KEYWORD: "<x:xmpmeta/>"}, 1)
    _, chunks = read_png(file.getvalue())
    assert (b"iTXt", XMP_KEYWORD.encode() + b"\0\0\0\0\0<x:xmpmeta/>") in chunks


@pytest.mark.parametrize(
    "keyword", ["", "x" * 80, " lead", "trail ", "nul\0", "new\nline"]
)
def test_keywords_that_png_forbids(keyword: str) -> None:
    """A keyword outside PNG's rule is refused by name instead of writing a broken file."""
    with pytest.raises(ValueError, match="keyword"):
        write_png(Photo(noise((2, 2, 3))), io.BytesIO(), {keyword: "x"}, 1)


def test_metadata_are_read_back_by_pillow() -> None:
    """Profile, resolution and EXIF are where another reader finds them."""
    exif = Image.Exif()
    exif[271] = "Leica"
    meta = Metadata(exif=exif.tobytes().removeprefix(b"Exif\0\0"), dpi=(72.0, 72.0))
    file = io.BytesIO()
    write_png(Photo(noise((2, 2, 3)), meta=meta), file, {}, 1)
    image = Image.open(io.BytesIO(file.getvalue()))
    assert image.getexif()[271] == "Leica"
    assert image.info["dpi"] == pytest.approx((72, 72), abs=0.01)
