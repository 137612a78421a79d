"""Bad files end in one kind of error, with a code and a sentence; nothing else ever
comes out of `decode`.
"""

from __future__ import annotations

import contextlib
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from gpu_worker.codec import Limits, decode, modes
from gpu_worker.photo import Photo
from shared.errors import Code, PermanentError
from tests.support.codec_samples import HEIC, LIMITS, noise, png, quarters, saved, tiff
from tests.support.psd_samples import psd

# Pillow warns of what it reads in damaged files
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

PICTURE = noise((40, 60, 3))
FILES = {
    "jpeg": saved(PICTURE, "JPEG"),
    "progressive": saved(PICTURE, "JPEG", progressive=True),
    "png": saved(PICTURE, "PNG"),
    "png16": png(noise((40, 60, 3), np.uint16)),
    "webp": saved(PICTURE, "WEBP"),
    "tiff": saved(PICTURE, "TIFF"),
    "tiff-lzw": saved(PICTURE, "TIFF", compression="tiff_lzw"),
    "tiff16": tiff(
        noise((40, 60, 3), np.uint16), photometric="rgb", compression="zlib"
    ),
    "bmp": saved(PICTURE, "BMP"),
    "gif": saved(PICTURE, "GIF"),
    "avif": saved(PICTURE, "AVIF"),
    "heic": HEIC,
    "jp2": saved(PICTURE, "JPEG2000"),
    "psd": psd(PICTURE, packed=True),
}


def _refused(data: bytes) -> PermanentError:
    with pytest.raises(PermanentError) as caught:
        decode(data, LIMITS)
    return caught.value


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.97])
def test_truncated_files_are_damaged(kind: str, share: float) -> None:
    """A file that ends early is `decode_error`: no half picture is ever restored."""
    data = FILES[kind]
    error = _refused(data[: int(len(data) * share)])
    assert error.code == Code.DECODE_ERROR
    assert len(error.detail) > 40


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"hello, this is text",
        b"#!/usr/bin/env python\nprint(1)\n",
        b"%PDF-1.7\n",
        b"PK\x03\x04",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        b"GIF89a",
        b"\xff\xd8\xff",
        b"RIFF\0\0\0\0WEBP",
        b"II*\0",
        b"BM",
        b"\x89PNG\r\n\x1a\n",
        bytes(1000),
    ],
)
def test_files_that_are_no_picture(data: bytes) -> None:
    """Nothing, text, scripts, documents and bare magic numbers: `decode_error`, and the
    sentence names the formats.
    """
    assert _refused(data).code == Code.DECODE_ERROR


@pytest.mark.parametrize("kind", ["ICO", "PPM", "PCX", "TGA", "PDF", "EPS", "SGI"])
def test_other_decoders_are_out_of_reach(kind: str) -> None:
    """Formats beyond the list are not opened, although Pillow could."""
    assert _refused(saved(quarters(), kind)).code == Code.DECODE_ERROR


def _claims(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes whose header claims any size."""
    data = bytearray(png(quarters()))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


@pytest.mark.parametrize(
    "size", [(40_000, 40_000), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (120_000_001, 1)]
)
def test_a_small_file_that_claims_a_huge_picture(size: tuple[int, int]) -> None:
    """A decompression bomb is refused by its header, before memory is taken."""
    assert _refused(_claims(*size)).code == Code.TOO_MANY_PIXELS


def test_no_pixels_at_all() -> None:
    """A width of zero is a damaged header."""
    assert _refused(_claims(0, 10)).code == Code.DECODE_ERROR


def test_a_flipped_bit_in_a_png_is_noticed() -> None:
    """PNG has checksums: a picture with a wrong pixel is refused rather than restored."""
    sound = png(quarters())
    at = sound.index(b"IDAT") + 20
    assert (
        _refused(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :]).code
        == Code.DECODE_ERROR
    )


def test_memory_that_runs_out_has_a_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`out_of_memory` says that the worker was too small, not that the photo is
    damaged.
    """

    def runs_out_of_memory(image: Image.Image, data: bytes) -> modes.Planes:
        raise MemoryError

    monkeypatch.setattr(modes, "planes", runs_out_of_memory)
    assert _refused(saved(quarters(), "PNG")).code == Code.OUT_OF_MEMORY


def test_text_bomb_in_a_png_does_not_expand() -> None:
    """A compressed text chunk that would fill the memory is refused."""
    bomb = (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(64 << 20), 9))
    assert _refused(png(quarters(), bomb)).code == Code.DECODE_ERROR


def test_tiff_directories_in_a_circle_end() -> None:
    """A TIFF whose second page is its first again has one page."""
    data = bytearray(saved(quarters(), "TIFF"))
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * entries, first)
    assert (decode(bytes(data), LIMITS).pixels == quarters()).all()


@pytest.mark.parametrize("kind", ["TIFF", "MPO"])
def test_pictures_in_one_file_are_limited(kind: str) -> None:
    """As many as the limit pass, with a note that only one was restored; one more
    is refused by name.
    """
    first, *others = [Image.fromarray(noise((8, 8, 3), seed=n)) for n in range(4)]
    data = saved(first, kind, save_all=True, append_images=others)
    notes = decode(data, Limits(max_frames=4)).notes
    assert any("was restored" in note for note in notes)
    with pytest.raises(PermanentError, match="DARKROOM_MAX_FRAMES") as caught:
        decode(data, Limits(max_frames=3))
    assert caught.value.code == Code.ANIMATED


@given(st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_damage_gives_a_photo_or_a_permanent_error(data: st.DataObject) -> None:
    """Bytes changed, cut out or put in anywhere: `decode` returns a sound `Photo` or
    raises `PermanentError`.
    """
    name = data.draw(st.sampled_from(sorted(FILES)))
    damaged = bytearray(FILES[name])
    times = data.draw(st.integers(1, 6))
    for _ in range(times):
        at = data.draw(st.integers(0, len(damaged) - 1))
        length = data.draw(st.integers(0, 4))
        damaged[at : at + length] = data.draw(st.binary(max_size=4))
    with contextlib.suppress(PermanentError):
        _assert_sound(decode(bytes(damaged), Limits(max_pixels=1_000_000)))


def _assert_sound(photo: Photo) -> None:
    assert photo.pixels.dtype in (np.uint8, np.uint16)
    assert photo.pixels.shape[2] in (1, 3)
    assert 0 < photo.pixels.size <= 3_000_000
    assert photo.pixels.flags.c_contiguous
    assert photo.pixels.flags.writeable
    if photo.alpha is not None:
        assert (photo.alpha.shape, photo.alpha.dtype) == (
            photo.pixels.shape[:2],
            photo.pixels.dtype,
        )


def test_sentences_hold_no_addresses_of_objects() -> None:
    """The reason in the sentence is for people: no `<_io.BytesIO object at 0x…>`."""
    details = [_refused(data[: len(data) // 2]).detail for data in FILES.values()]
    assert not [detail for detail in details if "object at 0x" in detail]
