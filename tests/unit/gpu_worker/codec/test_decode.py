"""Every mode and format a photo comes in gives its exact pixels, upright."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from gpu_worker.codec import decode
from shared.errors import Code, PermanentError
from tests.support.codec_samples import (
    HEIC_OF_TEN_BITS,
    LIMITS,
    noise,
    png,
    quarters,
    saved,
    tiff,
)

GREY, RGB = noise((13, 17)), noise((13, 17, 3))
ALPHA = noise((13, 17), seed=1)
DEEP = noise((13, 17, 4), np.uint16)

LOSSLESS = [
    "PNG",
    "TIFF",
    "BMP",
    ("WEBP", {"lossless": True}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_adobe_deflate"}),
]


def _save(array: Any, kind: str | tuple[str, dict[str, Any]]) -> bytes:
    name, options = (kind, {}) if isinstance(kind, str) else kind
    return saved(array, name, **options)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_rgb_is_exact(kind: Any) -> None:
    """Eight-bit RGB comes out of every lossless format as it went in."""
    photo = decode(_save(RGB, kind), LIMITS)
    assert (photo.pixels == RGB).all()
    assert photo.pixels.dtype == np.uint8
    assert photo.alpha is None
    assert photo.pixels.flags.c_contiguous


@pytest.mark.parametrize(
    "kind", ["PNG", "TIFF", "BMP", "GIF", ("TIFF", {"compression": "tiff_lzw"})]
)
def test_grey_stays_grey(kind: Any) -> None:
    """A grey file is a photo of one channel."""
    photo = decode(_save(GREY, kind), LIMITS)
    assert (photo.pixels[..., 0] == GREY).all()
    assert photo.pixels.shape == (13, 17, 1)


@pytest.mark.parametrize(
    "kind", ["PNG", ("WEBP", {"lossless": True, "exact": True}), "TIFF"]
)
def test_alpha_is_a_plane_of_its_own(kind: Any) -> None:
    """RGBA gives straight colours and alpha."""
    photo = decode(_save(np.dstack((RGB, ALPHA)), kind), LIMITS)
    assert (photo.pixels == RGB).all()
    assert photo.alpha is not None
    assert (photo.alpha == ALPHA).all()


def test_grey_with_alpha() -> None:
    """LA stays grey with alpha."""
    photo = decode(
        saved(
            Image.merge("LA", (Image.fromarray(GREY), Image.fromarray(ALPHA))), "PNG"
        ),
        LIMITS,
    )
    assert (photo.pixels[..., 0] == GREY).all()
    assert photo.alpha is not None
    assert (photo.alpha == ALPHA).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_one_bit(kind: str) -> None:
    """Black and white become 0 and 255."""
    photo = decode(saved(Image.fromarray(GREY > 127), kind), LIMITS)
    assert (photo.pixels[..., 0] == np.where(GREY > 127, 255, 0)).all()
    assert photo.source_mode == "1"


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_palette(kind: str) -> None:
    """A palette picture is its colours."""
    image = Image.fromarray(quarters()).quantize(4)
    assert (decode(saved(image, kind), LIMITS).pixels == quarters()).all()


def test_palette_of_greys_is_grey() -> None:
    """A palette that holds greys only gives one channel: the picture is not treated as
    colour.
    """
    image = Image.fromarray(GREY).quantize(256)
    image.putpalette([level for level in range(256) for _ in range(3)])
    assert decode(saved(image, "PNG"), LIMITS).pixels.shape == (13, 17, 1)


@pytest.mark.parametrize("transparency", [0, bytes([0, 128, 255, 255])])
def test_palette_with_transparency(transparency: Any) -> None:
    """Transparent palette entries become alpha, whole or by degrees."""
    image = Image.fromarray(quarters()).quantize(4)
    index = np.asarray(image)
    photo = decode(saved(image, "PNG", transparency=transparency), LIMITS)
    levels = np.array([0, 255, 255, 255] if transparency == 0 else list(transparency))
    assert photo.alpha is not None
    assert (photo.alpha == levels[index]).all()


@pytest.mark.parametrize(
    ("array", "key"),
    [
        (RGB, RGB[3, 4]),
        (GREY[..., None], GREY[3, 4, None]),
        (DEEP[..., :3], DEEP[3, 4, :3]),
        (DEEP[..., :1], DEEP[3, 4, :1]),
    ],
)
def test_transparent_colour(array: Any, key: Any) -> None:
    """A PNG that names one exact colour as transparent gets alpha there and nowhere
    else, at 8 and 16 bits.
    """
    chunk = (b"tRNS", key.astype(">u2").tobytes())
    photo = decode(png(array, chunk), LIMITS)
    assert photo.alpha is not None
    is_key = (array == key).all(axis=2)
    assert ((photo.alpha == 0) == is_key).all()
    top = np.iinfo(array.dtype).max
    assert set(np.unique(photo.alpha)) == {0, top}
    assert (photo.pixels == array).all()


def test_transparent_grey_of_four_bits() -> None:
    """A key in four bits means the same grey as in the pixels."""
    image = Image.frombytes("L", (2, 1), bytes([0x33, 0xCC]))
    data = saved(image, "PNG", bits=4, transparency=3)
    photo = decode(data, LIMITS)
    assert photo.alpha is not None
    assert photo.alpha.tolist() == [[0, 255]]


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_sixteen_bits_of_png_are_kept(samples: int) -> None:
    """All 16 bits of every sample arrive: grey, grey with alpha, RGB, RGBA."""
    photo = decode(png(DEEP[..., :samples]), LIMITS)
    colours = 1 if samples < 3 else 3
    assert photo.pixels.dtype == np.uint16
    assert (photo.pixels == DEEP[..., :colours]).all()
    assert (photo.alpha is None) == (samples in (1, 3))
    if photo.alpha is not None:
        assert (photo.alpha == DEEP[..., samples - 1]).all()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": 2},
        {"rowsperstrip": 5},
        {"tile": (16, 16), "compression": "zlib"},
        {"byteorder": ">", "compression": "zlib"},
        {"bigtiff": True},
    ],
)
def test_sixteen_bits_of_tiff_are_kept(options: dict[str, Any]) -> None:
    """16-bit RGB TIFF is exact in both byte orders, compressed, in strips and in tiles."""
    data = tiff(DEEP[..., :3], photometric="rgb", **options)
    assert (decode(data, LIMITS).pixels == DEEP[..., :3]).all()


def test_sixteen_bit_tiff_compressed_with_lzw() -> None:
    """16-bit RGB under LZW with its predictor, as scanners write it, is exact (the file
    is written by libtiff).
    """
    rows = tiff(DEEP[..., :1], photometric="minisblack")
    data = saved(
        Image.open(io.BytesIO(rows)), "TIFF", compression="tiff_lzw", tiffinfo={317: 2}
    )
    assert (decode(data, LIMITS).pixels == DEEP[..., :1]).all()


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha", "unspecified"])
def test_sixteen_bit_tiff_with_a_fourth_sample(kind: str) -> None:
    """Straight alpha is taken as it is, premultiplied alpha is divided out, an unnamed
    sample is left out.
    """
    alpha = DEEP[..., 3] | 0x8000
    stored = DEEP[..., :3]
    if kind == "assocalpha":
        stored = np.rint(stored * (alpha[..., None] / 65535)).astype(np.uint16)
    data = tiff(np.dstack((stored, alpha)), photometric="rgb", extrasamples=[kind])
    photo = decode(data, LIMITS)
    assert np.abs(photo.pixels.astype(int) - DEEP[..., :3]).max() <= (
        2 if kind == "assocalpha" else 0
    )
    assert (photo.alpha is None) == (kind == "unspecified")


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_grey_tiff(order: str) -> None:
    """I;16 in both byte orders."""
    assert (
        decode(tiff(DEEP[..., 0], byteorder=order), LIMITS).pixels[..., 0]
        == DEEP[..., 0]
    ).all()


@pytest.mark.parametrize("array", [GREY, DEEP[..., 0]])
def test_white_is_zero(array: Any) -> None:
    """A TIFF whose zero is white is turned round, at 8 and at 16 bits."""
    data = tiff(array, photometric="miniswhite")
    assert (
        decode(data, LIMITS).pixels[..., 0] == np.iinfo(array.dtype).max - array
    ).all()


def test_twelve_bits_fill_the_range() -> None:
    """0…4095 becomes 0…65535."""
    packed = bytes([0xFF, 0xF0, 0x00])  # two pixels: 4095, 0
    data = bytearray(tiff(np.zeros((1, 3), np.uint8), photometric="minisblack"))
    ifd = Image.open(io.BytesIO(bytes(data))).tag_v2  # type: ignore[attr-defined]
    start = ifd[273][0]
    data[start : start + 3] = packed
    directory = int.from_bytes(data[4:8], "little")
    for tag, value in ((256, 2), (258, 12)):
        at = data.index(tag.to_bytes(2, "little"), directory)
        data[at + 8 : at + 10] = value.to_bytes(2, "little")
    assert decode(bytes(data), LIMITS).pixels[..., 0].tolist() == [[65535, 0]]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_srgb(kind: str) -> None:
    """CMYK without a profile is converted by formula, says so, and carries an sRGB
    profile.
    """
    image = Image.fromarray(quarters()).convert("CMYK")
    photo = decode(
        saved(image, kind, **({"quality": 95} if kind == "JPEG" else {})), LIMITS
    )
    assert np.abs(photo.pixels[::8, ::12].astype(int) - quarters()[::8, ::12]).max() < 8
    assert photo.source_mode == "CMYK"
    assert any("CMYK" in note for note in photo.notes)
    assert photo.meta.icc is not None
    profile = ImageCms.ImageCmsProfile(io.BytesIO(photo.meta.icc))
    assert "sRGB" in ImageCms.getProfileDescription(profile)


def test_sixteen_bit_cmyk_works_and_says_what_it_lost() -> None:
    """A 16-bit CMYK TIFF is restored at 8 bits, with a note."""
    ink = np.zeros((4, 4, 4), np.uint16)
    ink[..., 0] = 65535
    photo = decode(tiff(ink, photometric="separated"), LIMITS)
    assert photo.pixels[0, 0].tolist() == [0, 255, 255]
    assert any("16-bit CMYK" in note for note in photo.notes)


def test_lab_becomes_srgb() -> None:
    """CIELab TIFF: L 100 is white, L 0 black."""
    lab = np.zeros((2, 1, 3), np.uint8)
    lab[0, 0, 0] = 255
    white, black = decode(tiff(lab, photometric="cielab"), LIMITS).pixels[:, 0]
    assert white.min() >= 254
    assert black.max() <= 1


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg_is_what_pillow_decodes(options: dict[str, Any]) -> None:
    """YCbCr JPEG gives RGB, with the decoder's own pixels."""
    data = saved(quarters(), "JPEG", quality=90, **options)
    assert (
        decode(data, LIMITS).pixels == np.asarray(Image.open(io.BytesIO(data)))
    ).all()


def test_jpeg_in_tiff_is_rgb() -> None:
    """YCbCr TIFF under JPEG compression gives RGB."""
    data = saved(quarters(), "TIFF", compression="jpeg")
    assert (
        np.abs(decode(data, LIMITS).pixels[2, 2].astype(int) - quarters()[2, 2]).max()
        < 8
    )


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4), np.uint32),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint32),
    ],
)
def test_modes_beyond_photographs_are_named(array: Any) -> None:
    """Floating-point and 32-bit TIFFs end as `unsupported_mode`, with what was found
    and the way out.
    """
    with pytest.raises(PermanentError, match="save the photo as") as caught:
        decode(
            tiff(array, photometric="rgb" if array.ndim == 3 else "minisblack"), LIMITS
        )
    assert caught.value.code == Code.UNSUPPORTED_MODE


def test_separate_planes_of_16_bits_are_refused() -> None:
    """Half of their bits would be lost without a word."""
    data = tiff(
        np.moveaxis(DEEP[..., :3], 2, 0), photometric="rgb", planarconfig="separate"
    )
    with pytest.raises(PermanentError) as caught:
        decode(data, LIMITS)
    assert caught.value.code == Code.UNSUPPORTED_MODE


def test_ten_bits_of_heic_are_kept() -> None:
    """A 10-bit HEIC is a 16-bit photo over the full range."""
    photo = decode(HEIC_OF_TEN_BITS, LIMITS)
    assert photo.pixels.dtype == np.uint16
    assert (photo.pixels == (625 << 6 | 625 >> 4)).all()
