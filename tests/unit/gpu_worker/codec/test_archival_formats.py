"""JPEG 2000 and Photoshop's PSD, as archives have them: pixels, depth, words, profile,
and what is left out.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_worker.codec import decode
from gpu_worker.codec.colour import srgb
from handlers.intake.headers import Header
from handlers.intake.probe import probe
from shared.errors import Code, PermanentError
from shared.runtime.settings import Settings
from tests.support.codec_samples import LIMITS, noise, quarters, saved
from tests.support.probe_samples import box
from tests.support.psd_samples import psd, resource

XMP = (
    b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf="
    b"'http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description "
    b"xmlns:photoshop='http://ns.adobe.com/photoshop/1.0/' photoshop:City='Berlin'/>"
    b"</rdf:RDF></x:xmpmeta>"
)
EXIF = b"II*\0" + struct.pack("<IHHHI4sI", 8, 1, 0x010F, 2, 4, b"abc\0", 0)
XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
EXIF_BOX = bytes.fromhex("4a706754696666457869662d3e4a5032")


def looked(data: bytes) -> Header:
    return probe(iter([data]), Settings(), 1.0).header


def refusal(data: bytes) -> PermanentError:
    with pytest.raises(PermanentError) as caught:
        looked(data)
    return caught.value


@pytest.mark.parametrize("boxes", [True, False])
@pytest.mark.parametrize("samples", [1, 3])
def test_jpeg_2000_to_the_bit(boxes: bool, samples: int) -> None:
    """With its boxes, or the codestream alone."""
    picture = noise((40, 60, samples))
    data = saved(picture.squeeze(), "JPEG2000", no_jp2=not boxes)
    header = looked(data)
    assert (header.format, header.width, header.height) == ("JPEG2000", 60, 40)
    assert (decode(data, LIMITS).pixels == picture).all()


def test_sixteen_bits_of_grey_stay() -> None:
    grey = noise((40, 60), np.uint16)
    data = saved(grey, "JPEG2000")
    assert looked(data).mode == "I;16"
    assert (decode(data, LIMITS).pixels[..., 0] == grey).all()


def test_what_jpeg_2000_says_of_itself() -> None:
    """Profile, EXIF, XMP, and no note about its encoder's comment."""
    data = saved(quarters(), "JPEG2000")
    plain = data.index(b"colr") - 4
    (length,) = struct.unpack_from(">I", data, plain)
    profile = box(b"colr", b"\2\0\0", srgb())
    grown = data[:plain] + profile + data[plain + length :]
    header = data.index(b"jp2h") - 4
    (old,) = struct.unpack_from(">I", data, header)
    size = struct.pack(">I", old + len(profile) - length)
    data = grown[:header] + size + grown[header + 4 :]
    data += box(b"uuid", XMP_BOX, XMP) + box(b"uuid", EXIF_BOX, EXIF)
    photo = decode(data, LIMITS)
    assert looked(data).width == 24
    assert photo.meta.icc == srgb()
    assert photo.meta.exif is not None
    assert b"abc" in photo.meta.exif
    assert [each.name for each in photo.meta.captions] == ["photoshop:City"]
    assert photo.notes == ()


def test_jpeg_2000_tells_one_size() -> None:
    """The decoder would believe its codestream."""
    data = bytearray(saved(quarters(), "JPEG2000"))
    at = data.index(b"ihdr") + 4
    assert struct.unpack_from(">II", data, at) == (16, 24)
    struct.pack_into(">II", data, at, 8, 8)
    error = refusal(bytes(data))
    assert error.code == Code.UNSUPPORTED_FORMAT
    assert "two sizes" in error.detail


@pytest.mark.parametrize("boxes", [True, False])
def test_jpeg_2000_that_was_cut(boxes: bool) -> None:
    data = saved(noise((40, 60, 3)), "JPEG2000", no_jp2=not boxes)
    for share in (0.1, 0.5, 0.99):
        code = refusal(data[: int(len(data) * share)]).code
        assert code in (Code.TRUNCATED, Code.UNSUPPORTED_FORMAT)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_composite_to_the_bit(packed: bool, dtype: Any, channels: int) -> None:
    picture = noise((20, 31, channels), dtype)
    data = psd(picture, packed=packed)
    header = looked(data)
    assert (header.format, header.width, header.height) == ("PSD", 31, 20)
    photo = decode(data, LIMITS)
    assert photo.pixels.dtype == dtype
    assert (photo.pixels == picture).all()
    assert photo.notes == ()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_selection_is_no_opacity(dtype: Any) -> None:
    """A fourth channel is the photo's opacity only where the file says so."""
    picture = noise((20, 31, 4), dtype)
    kept = decode(psd(picture, colours=3), LIMITS)
    assert kept.alpha is None
    assert "a selection" in " ".join(kept.notes)
    see_through = decode(psd(picture, colours=3, layers=-2), LIMITS)
    assert see_through.alpha is not None
    assert (see_through.alpha == picture[..., 3]).all()
    assert "layers were left out" in " ".join(see_through.notes)
    assert (see_through.pixels == kept.pixels).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cmyk_is_converted(dtype: Any) -> None:
    """Photoshop stores ink as light: 255 is none of it."""
    white: NDArray[Any] = np.full((4, 5, 4), np.iinfo(dtype).max, dtype)
    photo = decode(psd(white), LIMITS)
    assert photo.pixels.shape == (4, 5, 3)
    assert photo.pixels.min() > 250
    assert "CMYK" in " ".join(photo.notes)


def test_what_photoshop_says_of_a_photo() -> None:
    """Resolution, profile, EXIF and XMP, from its resources."""
    inches = struct.pack(">IHHIHH", 300 << 16, 1, 1, 600 << 16, 1, 1)
    photo = decode(
        psd(
            quarters(),
            resource(1005, inches),
            resource(1039, srgb()),
            resource(1058, EXIF),
            resource(1060, XMP),
        ),
        LIMITS,
    )
    assert photo.meta.dpi == (300, 600)
    assert photo.meta.icc == srgb()
    assert photo.meta.exif is not None
    assert [each.name for each in photo.meta.captions] == ["photoshop:City"]


def test_photoshop_files_that_are_refused() -> None:
    """A large document, one that was cut, and those without a composite that can be
    restored.
    """
    sound = psd(quarters())
    large = sound[:5] + b"\2" + sound[6:]
    assert "PSB" in refusal(large).detail
    assert refusal(sound[:-1]).code == Code.TRUNCATED
    assert refusal(psd(quarters(), packed=True)[:-1]).code == Code.TRUNCATED
    merged = resource(1057, struct.pack(">IB", 1, 0))
    for data in (psd(quarters(), merged), psd(quarters(), colours=7)):
        with pytest.raises(PermanentError) as caught:
            decode(data, LIMITS)
        assert caught.value.code == Code.UNSUPPORTED_MODE
