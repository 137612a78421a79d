"""Whose fault it was: too little memory is never called a damaged photo, a photo that
will not end is never ours.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_worker.codec import Decoder, sandbox
from shared.errors import Code, PermanentError
from shared.runtime.settings import Settings
from tests.support.codec_samples import png, quarters, saved, tiff
from tests.support.heif_samples import Derived, grid, heif, sized
from tests.support.pictures import photo_like

HEIGHT, WIDTH = 1536, 2048
SMALL = saved(quarters(), "PNG")
Picture = NDArray[np.uint8]
SOUND: dict[str, Callable[[Picture], bytes]] = {
    "jpeg": lambda picture: saved(picture, "JPEG"),
    "progressive jpeg": lambda picture: saved(picture, "JPEG", progressive=True),
    "png": lambda picture: saved(picture, "PNG", compress_level=1),
    "png of 16 bits": lambda picture: png(picture.astype(np.uint16) << 8),
    "webp": lambda picture: saved(picture, "WEBP", method=0),
    "lossless webp": lambda picture: saved(
        picture, "WEBP", lossless=True, method=0, quality=0
    ),
    "tiff": lambda picture: saved(picture, "TIFF"),
    "tiff in tiles": lambda picture: tiff(
        picture, photometric="rgb", tile=(512, 512), compression="zlib"
    ),
    "bmp": lambda picture: saved(picture, "BMP"),
    "avif": lambda picture: saved(picture, "AVIF", speed=10),
    "heic": lambda _: heif(
        sized(WIDTH, HEIGHT),
        derived=Derived(b"grid", grid(24, 32, WIDTH, HEIGHT), 24 * 32),
    ),
}
"""Makers of one big picture in every format: collecting the tests makes none."""


@cache
def sound(name: str) -> bytes:
    return SOUND[name](photo_like(HEIGHT, WIDTH))


@pytest.fixture(scope="module")
def service() -> Iterator[Decoder]:
    made = Decoder(Settings(decode_seconds=20), "tests.support.hostile_decoder")
    yield made
    made.close()


@pytest.fixture
def decoder(service: Decoder, monkeypatch: pytest.MonkeyPatch) -> Decoder:
    """A decoder whose files may misbehave; a test may change its settings."""
    monkeypatch.setattr(service, "_settings", Settings(decode_seconds=20))
    return service


def fault(decoder: Decoder, data: bytes, pixels: int = 1000) -> PermanentError:
    with pytest.raises(PermanentError) as caught:
        decoder.decode(data, pixels)
    return caught.value


@pytest.mark.parametrize(
    ("name", "bytes_a_pixel"),
    # Below 6 libheif aborts: a crash, which is reported as one.
    [(name, few) for name in SOUND for few in (2, 4, 6) if name != "heic" or few == 6],
)
def test_too_little_memory_is_no_damage(
    decoder: Decoder, name: str, bytes_a_pixel: int
) -> None:
    """A sound photo under too tight a limit is restored or `out_of_memory`, whatever
    its library makes of it.
    """
    decoder._settings = Settings(
        decode_seconds=60, decode_memory_bytes=bytes_a_pixel * HEIGHT * WIDTH
    )
    try:
        photo = decoder.decode(sound(name), HEIGHT * WIDTH)
        assert (photo.height, photo.width) == (HEIGHT, WIDTH)
    except PermanentError as error:
        assert error.code is Code.OUT_OF_MEMORY, error.detail  # noqa: PT017
    assert bytes_a_pixel > 2 or fault(decoder, sound(name), HEIGHT * WIDTH)


def test_memory_is_limited_by_the_size_that_the_header_claims(decoder: Decoder) -> None:
    """A small picture that inflates to 3 GiB runs out of memory, and the worker's
    memory is not touched.
    """
    assert fault(decoder, b"inflate").code is Code.OUT_OF_MEMORY


def test_memory_is_limited_by_the_setting(decoder: Decoder) -> None:
    """The setting bounds what even a large picture may take; its file, which is not
    counted, was read.
    """
    decoder._settings = Settings(decode_seconds=20, decode_memory_bytes=1_000_000)
    error = fault(decoder, sound("bmp"), HEIGHT * WIDTH)
    assert error.code is Code.OUT_OF_MEMORY
    assert "killed" not in error.detail
    decoder._settings = Settings(decode_seconds=20)
    assert decoder.decode(SMALL).width == 24


def test_a_small_photo_has_less_time_and_memory_than_a_big_one(
    decoder: Decoder,
) -> None:
    """The limits follow the size that the header claims. Processor time is that of two
    threads, and its end shows as what it is: the kernel kills without a word where both
    of its limits are one.
    """
    decoder._settings = Settings()
    # The first has more memory at hand than those that follow a small photo.
    _, small, big = (
        ast.literal_eval(fault(decoder, b"allowance", pixels).detail)
        for pixels in (1000, 1000, 2_000_000)
    )
    assert small[0] == (31, 32)
    assert big[0] == (34, 35)
    assert big[1][0] - small[1][0] == pytest.approx(
        40 * (2_000_000 - 1000), abs=4 << 20
    )


def test_a_process_that_talks_nonsense_and_stays_is_no_fault_of_ours(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder that was taken over cannot have its photo tried again and again by
    holding on.
    """
    monkeypatch.setattr(sandbox, "_END_S", 1.0)
    assert fault(decoder, b"nonsense").code is Code.DECODE_ERROR
    monkeypatch.undo()
    assert decoder.decode(SMALL).width == 24
