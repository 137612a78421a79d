"""Files that are cut off, hostile or mangled are refused with a code; nothing crashes
the probe.
"""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.intake.headers.stream import FREE_PARTS
from handlers.intake.probe import probe
from shared.errors import Code, DarkroomError, PermanentError
from tests.support.probe_samples import (
    SETTINGS,
    box,
    chunk,
    heic,
    photos,
    png,
    probed,
    refused,
    saved,
)

# Cut off behind its directory, a TIFF shows it only to a decoder; behind the first
# picture, nothing is missing.
UNSEEN = ("tiff", "jpeg-trailing", "jpeg-several", "png-trailing")
VISIBLE = [name for name in photos() if not name.startswith(UNSEEN)]


@pytest.mark.parametrize("name", VISIBLE)
def test_a_file_that_was_cut_off(name: str) -> None:
    """Where the end of the file is visibly missing, the upload is refused and not
    tried.
    """
    data = photos()[name][0]
    code, detail = refused(data[: len(data) // 2])
    assert code is Code.TRUNCATED
    assert "upload it again" in detail


@pytest.mark.parametrize("name", list(photos()))
def test_every_beginning_of_a_photo_is_refused_or_fit(name: str) -> None:
    """Cut anywhere, a file is refused with a code, or read as far as it goes: nothing
    else happens.
    """
    data = photos()[name][0]
    for end in [*range(1, 200), *range(200, min(len(data), 20_000), 97)]:
        try:
            assert probed(data[:end]).bytes == end
        except PermanentError as error:
            assert error.code in (Code.TRUNCATED, Code.UNSUPPORTED_FORMAT)  # noqa: PT017


def test_a_thumbnail_is_no_end_of_a_photo() -> None:
    """A JPEG that lost its end is cut off, even though the thumbnail in its metadata is
    whole.
    """
    data = photos()["jpeg-thumbnail-inside"][0]
    assert refused(data[:-2])[0] is Code.TRUNCATED


def test_the_end_of_a_jpeg_may_lie_between_two_pieces() -> None:
    """The marker's two bytes may come in two pieces of the body."""
    data = saved("RGB", "JPEG")
    assert probe(iter([data[:-1], data[-1:]]), SETTINGS, 1.0).bytes == len(data)
    assert (
        probe(iter([data[:-1], data[-1:], b"tail"]), SETTINGS, 1.0).bytes
        == len(data) + 4
    )


HOSTILE = {
    "no size in a jpeg": b"\xff\xd8\xff\xda\x00\x02\xff\xd9",
    "jpeg ends at once": b"\xff\xd8\xff\xd9",
    "jpeg segment of length 0": b"\xff\xd8\xff\xe0\x00\x00",
    "jpeg frame of length 2": b"\xff\xd8\xff\xc0\x00\x02",
    "jpeg of 0 pixels": b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x00\x00\x00\x01\x01\x11\x00\xff\xda\x00\x02\xff\xd9",
    "jpeg of 9 components": b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x01\x00\x01\x09\x01\x11\x00\xff\xda\x00\x02\xff\xd9",
    "jpeg without markers": b"\xff\xd8\xff\xe0\x00\x02nothing",
    "png without header": b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b"x"),
    "png of 0 pixels": png(0, 10),
    "png without pixels": png(10, 10).replace(b"IDAT", b"abcd"),
    "png of colour type 7": png(10, 10).replace(
        b"\x08\x02\x00\x00\x00", b"\x08\x07\x00\x00\x00"
    ),
    "png with a nameless chunk": png(10, 10, b"", chunk(b"\x00\x01\x02\x03", b"")),
    "png of many chunks": png(10, 10, b"", chunk(b"teXt", b"") * (FREE_PARTS)),
    "gif of an unknown block": b"GIF89a" + bytes(7) + b"\x99",
    "gif without a picture": b"GIF89a" + bytes(7) + b"\x3b",
    "webp of nothing": b"RIFF\x04\x00\x00\x00WEBP",
    "webp of no frame": b"RIFF\x0c\x00\x00\x00WEBPEXIF\x00\x00\x00\x00",
    "webp frames without a size": b"RIFF\x0c\x00\x00\x00WEBPANMF\x00\x00\x00\x00",
    "webp of a broken frame": b"RIFF\x16\x00\x00\x00WEBPVP8 \x0a\x00\x00\x00"
    + bytes(10),
    "webp chunk of length 0": b"RIFF\x16\x00\x00\x00WEBPVP8L\x00\x00\x00\x00\x2f"
    + bytes(9),
    "tiff directory in its header": b"II*\x00\x02\x00\x00\x00" + bytes(50),
    "tiff of no tags": b"II*\x00\x08\x00\x00\x00\x00\x00",
    "tiff of many tags": b"II*\x00\x08\x00\x00\x00\xff\xff",
    "tiff without a size": b"II*\x00\x08\x00\x00\x00\x01\x00" + bytes(12),
    "bmp of no depth": b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 10, 10, 1, 0, 0),
    "bmp of negative width": b"BM"
    + bytes(12)
    + struct.pack("<IiiHHI", 40, -10, 10, 1, 24, 0),
    "heic without sizes": heic(),
    "heic box of length 3": box(b"ftyp", b"heic", bytes(4)) + b"\x00\x00\x00\x03abcd",
    "heic of an endless box": box(b"ftyp", b"heic", bytes(4)) + b"\x00\x00\x00\x00mdat",
    "heic of many boxes": box(b"ftyp", b"heic", bytes(4)) + box(b"free") * (FREE_PARTS),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers(name: str) -> None:
    """A header that breaks its format's rules is refused, whatever it claims; the work
    on it is bounded.
    """
    code, detail = refused(HOSTILE[name])
    assert code is Code.UNSUPPORTED_FORMAT
    assert "damaged" in detail


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A photo with a few of its bytes changed, most of them near the beginning, cut off
    or followed by others.
    """
    data = bytearray(
        draw(
            st.sampled_from(
                [data for data, _, _ in photos().values() if len(data) < 20_000]
            )
        )
    )
    for _ in range(draw(st.integers(0, 6))):
        end = min(len(data), draw(st.sampled_from([40, 200, len(data)])))
        data[draw(st.integers(0, end - 1))] = draw(
            st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255)
        )
    return bytes(data[: draw(st.integers(0, len(data)) | st.none())]) + draw(
        st.binary(max_size=8)
    )


MAGICS = st.sampled_from(
    [
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"II*\x00",
        b"MM\x00*",
        b"II+\x00",
        b"BM",
        b"\x00\x00\x00\x18ftypheic",
        b"RIFF\xff\xff\x00\x00WEBP",
    ]
)


@given(mangled() | st.builds(bytes.__add__, MAGICS, st.binary(max_size=300)))
def test_no_file_crashes_the_probe(data: bytes) -> None:
    """Any bytes at all are fit, or refused with a code of ours and a sentence."""
    try:
        found = probed(data, scale=4.0)
    except DarkroomError as error:
        assert error.detail  # noqa: PT017
        return
    assert found.bytes == len(data)
    assert 0 < found.header.width * found.header.height <= SETTINGS.max_pixels
