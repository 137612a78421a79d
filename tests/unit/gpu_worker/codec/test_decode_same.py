"""Decoding in a process of its own: sound photos lose nothing by it, and faults keep
their words.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpu_worker.codec import Decoder, Limits, decode
from gpu_worker.photo import Photo
from shared.errors import PermanentError
from shared.runtime.settings import Settings
from tests.support.codec_samples import (
    HEIC,
    HEIC_OF_TEN_BITS,
    noise,
    png,
    quarters,
    saved,
    tiff,
)
from tests.support.pictures import photo_like

SETTINGS = Settings(decode_seconds=20)
SOUND = saved(quarters(), "PNG")


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    made = Decoder(SETTINGS)
    yield made
    made.close()


def assert_same(one: Photo, other: Photo) -> None:
    assert np.array_equal(one.pixels, other.pixels)
    assert one.pixels.dtype == other.pixels.dtype
    assert other.pixels.flags.c_contiguous
    assert other.pixels.flags.writeable
    assert (one.alpha is None) == (other.alpha is None)
    if one.alpha is not None and other.alpha is not None:
        assert np.array_equal(one.alpha, other.alpha)
        assert one.alpha.dtype == other.alpha.dtype
    assert (one.meta, one.source_mode, one.notes) == (
        other.meta,
        other.source_mode,
        other.notes,
    )


def test_a_big_picture_comes_into_its_scratch_file(
    decoder: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the threshold the pixels are read into a mapped file, not into memory."""
    monkeypatch.setattr(
        decoder,
        "_settings",
        Settings(scratch_dir=tmp_path, scratch_threshold_bytes=10_000),
    )
    picture = noise((100, 100, 3))
    photo = decoder.decode(saved(picture, "PNG"))
    assert isinstance(photo.pixels, np.memmap)
    assert np.array_equal(photo.pixels, picture)


TURNED = b"".join(
    (b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0", bytes(4))
)
SAME = {
    "jpeg": saved(quarters(), "JPEG", exif=TURNED, dpi=(72.5, 300)),
    "cmyk": saved(Image.fromarray(quarters()).convert("CMYK"), "JPEG"),
    "grey": saved(photo_like(20, 20)[..., 0], "JPEG"),
    "png with alpha": saved(noise((30, 20, 4)), "PNG"),
    "png of 16 bits": png(noise((30, 20, 3), np.uint16)),
    "png of 16 bits with alpha": png(noise((30, 20, 4), np.uint16)),
    "grey with alpha": png(noise((30, 20, 2))),
    "tiff of 16 bits": tiff(
        noise((30, 20, 3), np.uint16), photometric="rgb", compression="zlib"
    ),
    "webp": saved(noise((30, 20, 3)), "WEBP"),
    "bmp": saved(noise((30, 20, 3)), "BMP"),
    "gif": saved(quarters(), "GIF"),
    "avif": saved(photo_like(30, 20), "AVIF"),
    "heic": HEIC,
    "heic of 10 bits": HEIC_OF_TEN_BITS,
    "wide": saved(photo_like(1000, 1300), "PNG", compress_level=1),
}


@pytest.mark.parametrize("name", SAME)
def test_nothing_is_lost_on_the_way(decoder: Decoder, name: str) -> None:
    """Pixels to the bit, alpha, profile, EXIF, resolution, mode and notes are those of
    decoding in the worker.
    """
    assert_same(decode(SAME[name], Limits()), decoder.decode(SAME[name]))


@pytest.mark.parametrize("data", [SOUND[:-20], b"", b"text", png(quarters())[:60]])
def test_faults_come_with_their_code_and_sentence(
    decoder: Decoder, data: bytes
) -> None:
    """A refusal is the same as in the worker."""
    with pytest.raises(PermanentError) as caught:
        decode(data, Limits())
    with pytest.raises(PermanentError) as apart:
        decoder.decode(data, 1000)
    assert (apart.value.code, apart.value.detail) == (
        caught.value.code,
        caught.value.detail,
    )


def test_what_it_costs(decoder: Decoder) -> None:
    """Printed, not judged: median milliseconds of a photo of one megapixel, here and
    apart, in turns.
    """
    data = saved(photo_like(1000, 1000), "JPEG", quality=90)
    times: dict[str, list[float]] = {"here": [], "apart": []}
    for _ in range(9):
        time.sleep(0.03)  # a worker's photos do not come back to back, either
        for name in times:
            began_s = time.perf_counter()
            decode(data, Limits()) if name == "here" else decoder.decode(
                data, 1_000_000
            )
            times[name].append((time.perf_counter() - began_s) * 1000)
    here, apart = (statistics.median(times[name]) for name in ("here", "apart"))
    print(
        f"decode_here_ms={here:.1f} decode_apart_ms={apart:.1f} extra_ms={apart - here:.1f} ratio={apart / here:.2f}"
    )
