"""The header look and the decoders must speak of the same picture: what one lets in,
the other finds no larger.
"""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from gpu_worker.codec import Limits, decode
from gpu_worker.codec.decode import FORMATS
from handlers.intake.headers import Header
from handlers.intake.probe import probe
from shared.errors import Code, PermanentError
from shared.runtime.settings import Settings
from tests.support.codec_samples import quarters, saved, tiff
from tests.support.heif_samples import Derived, cut, grid, heif, overlay, sized, turned
from tests.support.hostile_fields import chunk
from tests.support.probe_samples import box, photos

SETTINGS = Settings()
HUGE = 2_000_000_000
FTYP = box(b"ftyp", b"heic", bytes(4), b"mif1", b"heic")
PNG_HEADER = b"\x08\x02\x00\x00\x00"


def looked(data: bytes) -> Header:
    return probe(iter([data]), SETTINGS, 1.0).header


def opened(data: bytes) -> tuple[int, int]:
    """The size that decoders begin with."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return image.size


def turned_by(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


GRIDS = {
    "one tile": heif(sized(64, 64)),
    "a tile that is turned": heif(sized(64, 64), turned(1)),
    "a grid": heif(sized(120, 70), derived=Derived(b"grid", grid(2, 2, 120, 70), 4)),
    "a grid that is turned": heif(
        sized(120, 70), turned(3), derived=Derived(b"grid", grid(2, 2, 120, 70), 4)
    ),
    "an identity": heif(sized(64, 64), derived=Derived(b"iden", b"", 1)),
    "an overlay": heif(sized(64, 64), derived=Derived(b"iovl", overlay(64, 64, 1), 1)),
}


# that one has no pixels
@pytest.mark.parametrize("name", [name for name in photos() if name != "heic"])
def test_sound_photos_have_the_size_that_was_looked_up(name: str) -> None:
    """Every format and mode."""
    data = photos()[name][0]
    header, photo = looked(data), decode(data, Limits())
    assert (header.width, header.height) == (photo.width, photo.height)


@pytest.mark.parametrize("name", GRIDS)
def test_derived_pictures_have_the_size_that_was_looked_up(name: str) -> None:
    """HEIC tiles, grids and overlays, upright or turned."""
    header, photo = looked(GRIDS[name]), decode(GRIDS[name], Limits())
    assert sorted((header.width, header.height)) == sorted((photo.width, photo.height))


def test_a_cut_picture_is_no_larger_than_was_looked_up() -> None:
    """A HEIC may hold more than it shows."""
    data = heif(sized(64, 64), cut(16, 24), turned(1))
    assert looked(data).width * looked(data).height >= 16 * 24
    assert decode(data, Limits()).pixels.shape == (16, 24, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [*range(10), 65_535])
def test_any_orientation(kind: str, orientation: int) -> None:
    """1 to 8 turn the picture, all else is taken for upright; the header look tells the
    size before that.
    """
    data = saved(quarters(), kind, exif=turned_by(orientation))
    header, photo = looked(data), decode(data, Limits())
    turns = 5 <= orientation <= 8
    assert (header.width, header.height) == (
        (photo.height, photo.width) if turns else (photo.width, photo.height)
    )


def png_told_twice(width: int, height: int) -> bytes:
    data = saved(quarters(), "PNG")
    return (
        data[:33]
        + chunk(b"IHDR", struct.pack(">II", width, height) + PNG_HEADER)
        + data[33:]
    )


def jpeg_told_twice(width: int, height: int) -> bytes:
    data = saved(quarters(), "JPEG")
    at = data.index(b"\xff\xc0")
    frame = data[at : at + 19]
    return (
        data[: at + 19]
        + frame[:5]
        + struct.pack(">HH", height, width)
        + frame[9:]
        + data[at + 19 :]
    )


def tiff_of(*tags: tuple[int, int, int, int], big: bool = False) -> bytes:
    form, head = (
        ("<HHQQ", b"II+\0\x08\0\0\0\x10" + bytes(7))
        if big
        else ("<HHII", b"II*\0\x08\0\0\0")
    )
    body = b"".join(struct.pack(form, *tag) for tag in tags)
    return (
        head
        + struct.pack(form[0] + ("Q" if big else "H"), len(tags))
        + body
        + bytes(200)
    )


def bmp_of_height(height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IIIIiIHHI", 0, 0, 54, 40, 1, height, 1, 24, 1)
        + bytes(2000)
    )


def heic_hiding(prop: bytes) -> bytes:
    """Its property stands behind a box whose size is told in eight bytes."""
    long = struct.pack(">I4sQ", 1, b"free", 24) + bytes(8)
    content = box(b"iprp", box(b"ipco", sized(16, 16), long, prop))
    return FTYP + box(b"meta", bytes(4), content) + box(b"mdat", bytes(99))


LIARS = {
    "png": png_told_twice(40_000, 40_000),
    "jpeg": jpeg_told_twice(65_000, 65_000),
    "tiff, the same tag": tiff_of(
        (256, 3, 1, 24), (257, 3, 1, 16), (256, 4, 1, HUGE), (262, 3, 1, 2)
    ),
    "tiff, signed": tiff_of(
        (256, 3, 1, 24), (257, 3, 1, 16), (257, 9, 1, HUGE), (262, 3, 1, 2)
    ),
    "tiff, bytes elsewhere": tiff_of((256, 3, 1, 24), (257, 16, 1, 8), (262, 3, 1, 2)),
    "bigtiff": tiff_of((256, 3, 1, 24), (257, 3, 1, 16), (257, 16, 1, HUGE), big=True),
    "bmp": bmp_of_height(0xFE000000),
    "heic, cut": heif(sized(64, 64), cut(30_000, 30_000)),
    "heic, hidden": heic_hiding(sized(40_000, 40_000)),
    "heic, cut in a whole": FTYP
    + box(b"meta", bytes(4), box(b"iprp", box(b"ipco", sized(9, 9), cut(HUGE, 9)))),
}


@pytest.mark.parametrize("name", LIARS)
def test_no_file_tells_two_sizes(name: str) -> None:
    """A small size for the look and a huge one for the decoder: the look refuses what
    decoders would find too large.
    """
    with pytest.raises(PermanentError) as caught:
        looked(LIARS[name])
    assert caught.value.code in (Code.TOO_MANY_PIXELS, Code.UNSUPPORTED_FORMAT)


def test_the_liars_do_lie() -> None:
    """Decoders read the larger size of those that they can open at all, or this test
    would show nothing.
    """
    sizes = {name: opened(LIARS[name]) for name in ("png", "jpeg", "bmp", "heic, cut")}
    assert all(
        width * height > SETTINGS.max_pixels for width, height in sizes.values()
    ), sizes


def test_tiff_directories_of_both_kinds_are_read() -> None:
    """What the liars are made of is fit without the lie."""
    for big in (False, True):
        header = looked(
            tiff_of((256, 3, 1, 24), (257, 4, 1, 16), (262, 3, 1, 2), big=big)
        )
        assert (header.width, header.height) == (24, 16)
    assert looked(tiff(quarters(), bigtiff=True, photometric="rgb")).width == 24
