"""Colour profiles are anybody's bytes: only the decoder's process parses them, and the
pictures are the same by it.
"""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gpu_worker.codec import Decoder, colour, preview, profiles, write_png
from gpu_worker.codec.preview import _small
from gpu_worker.codec.srgb import in_srgb
from gpu_worker.photo import Metadata
from shared.runtime.settings import Settings
from tests.support.codec_samples import saved
from tests.support.pictures import photo_like

D65 = (0.3127, 0.3290)
SETTINGS = Settings(label_preview=False, decode_seconds=20)


def with_tables(space: bytes, device: bytes, outputs: tuple[int, int, int]) -> bytes:
    """A profile of tables: every colour becomes one of two Lab colours, or something
    between them.
    """
    inputs = len(space.strip())
    ramp = bytes(range(256))
    corners = b"".join(
        bytes((*outputs,)) if i % 2 else bytes((255 - i, 128, 128))
        for i in range(2**inputs)
    )
    table = (
        b"mft1"
        + bytes(4)
        + bytes((inputs, 3, 2, 0))
        + struct.pack(">9i", *(65536, 0, 0, 0, 65536, 0, 0, 0, 65536))
    )
    tags = {b"A2B0": table + ramp * inputs + corners + ramp * 3}
    made = bytearray(profiles._profile(space, "tables", D65, tags))
    made[12:16], made[20:24] = device, b"Lab "
    return bytes(made)


RGB = {
    "Adobe RGB": profiles.matrix_profile(
        "Adobe RGB", D65, (0.64, 0.33, 0.21, 0.71, 0.15, 0.06), 563 / 256
    ),
    "Display P3": profiles.matrix_profile(
        "Display P3", D65, (0.68, 0.32, 0.265, 0.69, 0.15, 0.06), 2.2
    ),
    "tables": with_tables(b"RGB ", b"mntr", (40, 90, 200)),
}
GREY = profiles.grey_profile("Gamma 1.8", 1.8)
CMYK = with_tables(b"CMYK", b"prtr", (200, 90, 60))


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    made = Decoder(SETTINGS, "tests.support.hostile_decoder")
    yield made
    made.close()


def expected(pixels: NDArray[np.uint8], icc: bytes) -> NDArray[np.uint8]:
    """By the library itself, here: these profiles are ours."""
    mode = "L" if pixels.ndim == 2 else "RGB"
    return np.asarray(colour.to_srgb(mode, icc)[0](Image.fromarray(pixels)))


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on this process, as the worker's, cannot even load it."""
    monkeypatch.setitem(sys.modules, "PIL.ImageCms", None)
    with pytest.raises(ImportError):
        colour.to_srgb("RGB", None)


@pytest.mark.parametrize("icc", RGB.values(), ids=RGB.keys())
def test_colours(decoder: Decoder, icc: bytes, request: pytest.FixtureRequest) -> None:
    """Preview to the pixel, the profile's own bytes in the result."""
    pixels = photo_like(40, 30)
    wanted = expected(pixels, icc)
    request.getfixturevalue("without_library")
    photo = decoder.decode(saved(pixels, "PNG", icc_profile=icc))
    assert np.array_equal(photo.pixels, pixels)
    assert np.array_equal(np.asarray(_small(photo, 512, decoder)), wanted)
    assert not np.array_equal(wanted, pixels)
    assert preview(photo, SETTINGS, converter=decoder)
    file = io.BytesIO()
    write_png(photo, file, {}, 1)
    assert Image.open(file).info["icc_profile"] == icc
    assert photo.meta.greys is not None
    assert in_srgb(photo, SETTINGS).meta == Metadata(
        dpi=photo.meta.dpi, exif=photo.meta.exif
    )


def test_greys_are_converted_by_the_table(
    decoder: Decoder, request: pytest.FixtureRequest
) -> None:
    """By the table that came with the photo, without the library."""
    pixels = np.arange(48 * 40, dtype=np.uint16).reshape(48, 40).astype(np.uint8)
    wanted = expected(pixels, GREY)
    request.getfixturevalue("without_library")
    photo = decoder.decode(saved(pixels, "PNG", icc_profile=GREY))
    assert np.array_equal(np.asarray(_small(photo, 512, None)), wanted)
    assert np.array_equal(in_srgb(photo, SETTINGS).pixels[..., 0], wanted[..., 0])


def test_inks(decoder: Decoder, without_library: None) -> None:
    """Converted where it was decoded; what comes is sRGB, and says so."""
    data = saved(
        Image.fromarray(photo_like(40, 30)).convert("CMYK"), "TIFF", icc_profile=CMYK
    )
    photo = decoder.decode(data)
    assert (photo.source_mode, photo.meta.icc is not None) == ("CMYK", True)
    assert any("was converted to sRGB" in note for note in photo.notes)
    small = np.asarray(_small(photo, 512, decoder)).astype(int)
    assert np.abs(small - photo.pixels).max() <= 1


@pytest.mark.parametrize(
    "answer", [b"less", b"photo", b"segv", b"exit", b"nonsense", b"not a profile"]
)
def test_a_lie_about_a_preview_is_no_preview_in_colours(
    decoder: Decoder, answer: bytes
) -> None:
    """The pixels stay as they are, and the next photo has a process of its own."""
    pixels = photo_like(20, 10)
    assert (
        np.array_equal(decoder.to_srgb(pixels, answer), pixels)
        or answer == b"not a profile"
    )
    assert np.array_equal(decoder.decode(saved(pixels, "PNG")).pixels, pixels)


def test_more_than_was_asked_for_is_not_taken(decoder: Decoder) -> None:
    pixels = photo_like(20, 10)
    found = decoder.to_srgb(pixels, b"more")
    assert found.shape == pixels.shape
    assert found.min() == 255
    assert np.array_equal(decoder.decode(saved(pixels, "PNG")).pixels, pixels)
