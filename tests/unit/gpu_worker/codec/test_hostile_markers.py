"""Thirty-odd things hidden in photos, and none of them in what Darkroom writes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile, PngImagePlugin

from gpu_worker.codec import Decoder, preview, write_png
from gpu_worker.codec.colour import srgb
from shared.runtime.settings import Settings
from tests.support.codec_samples import HEIC, quarters, saved
from tests.support.hostile_fields import chunk
from tests.support.probe_samples import box

_B = ExifTags.Base
KEPT = {
    _B.Make: "KEPT make",
    _B.Model: "KEPT model",
    _B.Artist: "KEPT artist",
    _B.Copyright: "KEPT copyright",
}
EXIF_WORDS = (_B.ImageDescription, _B.HostComputer, _B.DocumentName, _B.Software)
EXIF_BYTES = (_B.XPComment, _B.XPAuthor, _B.XPKeywords, _B.XPTitle)
DETAIL_WORDS = (
    _B.BodySerialNumber,
    _B.LensSerialNumber,
    _B.CameraOwnerName,
    _B.ImageUniqueID,
)
DETAIL_BYTES = (_B.UserComment, _B.MakerNote)


class Planter:
    """Gives out words and remembers them."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def word(self, place: str) -> str:
        self.words[place] = f"PLANTED{zlib.crc32(place.encode()):08x}"
        return self.words[place]

    def bytes(self, place: str) -> bytes:
        return self.word(place).encode()


def exif(plant: Planter, kind: str) -> Image.Exif:
    made = Image.Exif()
    for tag, value in KEPT.items():
        made[tag] = value
    for tag in EXIF_WORDS:
        made[tag] = plant.word(f"{kind} {tag.name}")
    for tag in EXIF_BYTES:
        made[tag] = plant.word(f"{kind} {tag.name}").encode("utf-16-le")
    details = {tag: plant.word(f"{kind} {tag.name}") for tag in DETAIL_WORDS}
    made[ExifTags.IFD.Exif] = details | {
        tag: plant.bytes(f"{kind} {tag.name}") for tag in DETAIL_BYTES
    }
    made[ExifTags.IFD.GPSInfo] = {
        1: "N",
        2: (48.0, 51.0, 30.0),
        28: plant.bytes(f"{kind} GPS area"),
        29: plant.word(f"{kind} GPS date"),
    }
    return made


def jpeg(plant: Planter) -> bytes:
    data = saved(
        quarters(),
        "JPEG",
        exif=exif(plant, "JPEG"),
        comment=plant.bytes("JPEG comment"),
        xmp=plant.bytes("JPEG XMP"),
        icc_profile=srgb() + plant.bytes("JPEG behind the profile"),
    )
    for marker, head in ((0xED, b"Photoshop 3.0\0"), (0xEB, b"JP\0\0"), (0xEF, b"")):
        body = head + plant.bytes(f"JPEG segment {marker:x}")
        data = (
            data[:2]
            + b"\xff"
            + bytes([marker])
            + struct.pack(">H", len(body) + 2)
            + body
            + data[2:]
        )
    return data + b"PK\x03\x04" + plant.bytes("JPEG trailing zip")


def png(plant: Planter) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", plant.word("PNG tEXt"))
    info.add_text("Comment", plant.word("PNG zTXt"), zip=True)
    info.add_itxt("Note", plant.word("PNG iTXt"), zip=True)
    info.add_text("XML:com.adobe.xmp", plant.word("PNG XMP"))
    info.add(b"prVt", plant.bytes("PNG private chunk"))
    data = saved(quarters(), "PNG", exif=exif(plant, "PNG"), pnginfo=info)
    return (
        data
        + chunk(b"tEXt", b"late\0" + plant.bytes("PNG behind its end"))
        + b"MZ"
        + plant.bytes("PNG trailing program")
    )


def webp(plant: Planter) -> bytes:
    icc = srgb() + plant.bytes("WEBP behind the profile")
    data = saved(
        quarters(),
        "WEBP",
        lossless=True,
        exif=exif(plant, "WEBP"),
        xmp=plant.bytes("WEBP XMP"),
        icc_profile=icc,
    )
    data += (
        b"PRIV"
        + struct.pack("<I", 16)
        + plant.bytes("WEBP private chunk").ljust(16)[:16]
    )
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def tiff(plant: Planter) -> bytes:
    # Pillow writes the inner directories of a TIFF only from bytes it has read
    tags = Image.Exif()
    tags.load(exif(plant, "TIFF").tobytes())
    for tag in (700, 33723, 34377, 65000):
        tags[tag] = plant.bytes(f"TIFF tag {tag}")
    return saved(quarters(), "TIFF", exif=tags) + plant.bytes("TIFF trailing")


def gif(plant: Planter) -> bytes:
    return saved(
        Image.fromarray(quarters()).convert("P"),
        "GIF",
        comment=plant.bytes("GIF comment"),
    ) + plant.bytes("GIF tail")


def bmp(plant: Planter) -> bytes:
    data = saved(quarters(), "BMP")
    hidden = plant.bytes("BMP before its pixels")
    start = struct.unpack_from("<I", data, 10)[0]
    return (
        data[:10]
        + struct.pack("<I", start + len(hidden))
        + data[14:start]
        + hidden
        + data[start:]
        + plant.bytes("BMP tail")
    )


def mpo(plant: Planter) -> bytes:
    """A second picture with metadata of its own; Pillow gives both the same."""
    second = [Image.fromarray(quarters())]
    return saved(
        quarters(), "MPO", save_all=True, append_images=second, exif=exif(plant, "MPO")
    )


def avif(plant: Planter) -> bytes:
    icc = srgb() + plant.bytes("AVIF behind the profile")
    data = saved(
        quarters(),
        "AVIF",
        speed=10,
        exif=exif(plant, "AVIF"),
        xmp=plant.bytes("AVIF XMP"),
        icc_profile=icc,
    )
    return data + boxes(plant, "AVIF")


def heic(plant: Planter) -> bytes:
    """A sound file whose EXIF names a maker, with boxes that no reader knows."""
    return HEIC + boxes(plant, "HEIC")


def boxes(plant: Planter, kind: str) -> bytes:
    known = box(b"free", plant.bytes(f"{kind} free")) + box(
        b"uuid", bytes(16), plant.bytes(f"{kind} uuid")
    )
    return known + box(b"mdat", plant.bytes(f"{kind} data of no box"))


MAKERS = (jpeg, png, webp, tiff, gif, bmp, mpo, avif, heic)
LOSSY = (jpeg, mpo, avif, heic)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    made = Decoder(Settings())
    yield made
    made.close()


def forms(word: str) -> tuple[bytes, ...]:
    return word.encode(), word.encode("utf-16-le"), word.encode("utf-16-be")


def unpacked(data: bytes) -> bytes:
    """A picture's own bytes, and what its compressed texts hold."""
    with Image.open(io.BytesIO(data)) as image:
        assert isinstance(image, ImageFile.ImageFile)
        image.load()
        return data + repr(image.info).encode() + repr(dict(image.getexif())).encode()


def test_no_marker_comes_through(decoder: Decoder) -> None:
    """Positions, serial numbers, owners, comments, XMP, IPTC, private chunks and
    trailing files: found in no output.
    """
    plant, found = Planter(), []
    for make in MAKERS:
        before = set(plant.words)
        data = make(plant)
        for place in set(plant.words) - before:
            compressed = "zTXt" in place or "iTXt" in place
            assert compressed or any(
                form in data for form in forms(plant.words[place])
            ), place
        photo = decoder.decode(data)
        assert np.array_equal(photo.pixels, quarters()) or make in LOSSY
        result = io.BytesIO()
        write_png(photo, result, {}, 1)
        outputs = unpacked(result.getvalue()) + unpacked(
            preview(photo, Settings(), converter=decoder)
        )
        found += [
            place
            for place, word in plant.words.items()
            if any(form in outputs for form in forms(word))
        ]
        assert b"PK\x03\x04" not in outputs
    print(f"markers_planted={len(plant.words)} markers_found={len(found)}")
    assert not found
    assert len(plant.words) >= 20


@pytest.mark.parametrize("make", [jpeg, png, webp, tiff, mpo, avif])
def test_what_is_kept_by_design_is_kept(decoder: Decoder, make: object) -> None:
    """Camera and rights stay, so that a missing marker is not just a missing
    everything.
    """
    assert callable(make)
    photo = decoder.decode(make(Planter()))
    assert photo.meta.exif is not None
    assert all(value.encode() in photo.meta.exif for value in KEPT.values())
