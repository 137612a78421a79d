"""What people wrote about a photo is in its result, whatever format it came in; what
strangers write as XML does no harm.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gpu_worker.codec import Decoder, Limits, decode, preview, texts, write_png
from gpu_worker.codec.ipc import CAPTIONS
from gpu_worker.photo import Photo, Property
from shared.runtime.settings import Settings
from tests.support.captioned import CAPTION, captioned, words_of
from tests.support.codec_samples import LIMITS, png, quarters, saved, workflow
from tests.support.extras import needs_program

KINDS = ["JPEG", "TIFF", "PNG", "WEBP"]
LAUGHS = b"""<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>
<x:xmpmeta xmlns:x="adobe:ns:meta/">&b;</x:xmpmeta>"""
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    made = Decoder(Settings())
    yield made
    made.close()


def _packet(inside: str) -> bytes:
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}">'
        f'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/">{inside}'
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def _with_xmp(packet: bytes) -> Photo:
    return decode(saved(quarters(), "WEBP", lossless=True, xmp=packet), LIMITS)


def _outputs(photo: Photo, folder: Path, decoder: Decoder) -> list[Path]:
    """The result and the preview of a photo, as files."""
    text = texts("t", workflow("upscale"), words=photo.meta.captions)
    result, small = folder / "result.png", folder / "preview.webp"
    with result.open("wb") as file:
        write_png(photo, file, text, 1)
    small.write_bytes(preview(photo, Settings(), text, decoder))
    return [result, small]


@pytest.mark.parametrize("kind", KINDS)
def test_captions_are_in_every_output(
    kind: str, tmp_path: Path, decoder: Decoder
) -> None:
    """An independent reader finds caption in every language, keywords, people, places
    and contact; and IPTC's fields for AI, beside them.
    """
    needs_program("exiftool", "libimage-exiftool-perl")
    photo = decoder.decode(captioned(kind))
    for output in _outputs(photo, tmp_path, decoder):
        words = words_of(output)
        assert words["XMP-dc:Description"] == CAPTION
        assert words["XMP-dc:Description-en"] == "Grandmother at the harbour"
        has_iim = kind in ("JPEG", "TIFF")
        keywords = ["harbour", "family", "Hansa"] if has_iim else ["harbour", "family"]
        assert words["XMP-dc:Subject"] == keywords
        assert "V. Maier" in words["XMP-dc:Creator"]
        assert words["XMP-photoshop:City"] == "Danzig"
        contact = words["XMP-iptcCore:CreatorContactInfo"]
        assert contact["CiEmailWork"] == "archive@example.org"
        assert words["XMP-iptcExt:PersonInImage"] == ["Anna Kowalska"]
        assert words["XMP-iptcExt:LocationShown"] == [{"City": "Gdańsk"}]
        source_type = words["XMP-iptcExt:DigitalSourceType"]
        assert source_type.endswith("algorithmicallyEnhanced")
        assert "PLANTED" not in str(words)
        if has_iim:
            assert str(words["XMP-photoshop:DateCreated"]) == "1936"


@pytest.mark.parametrize("source", ["IPTC-IIM", "EXIF"])
def test_old_captions_come_through_the_confined_process(
    source: str, decoder: Decoder
) -> None:
    """Windows' own letters, which need a table that nobody has loaded by chance."""
    caption = "Grandmother’s kitchen – Besançon, 1974"
    if source == "EXIF":
        exif = Image.Exif()
        exif[0x010E] = caption.encode("cp1252")
        data = saved(quarters(), "JPEG", exif=exif.tobytes())
    else:
        value = caption.encode("cp1252")
        block = struct.pack(">BBBH", 0x1C, 2, 120, len(value)) + value
        padded = block + bytes(len(block) % 2)
        resource = struct.pack(">4sH2sI", b"8BIM", 0x0404, b"", len(block)) + padded
        segment = b"Photoshop 3.0\0" + resource
        head = struct.pack(">BBH", 0xFF, 0xED, len(segment) + 2)
        plain = saved(quarters(), "JPEG")
        data = plain[:2] + head + segment + plain[2:]
    photo = decoder.decode(data)
    assert [each.items[0].text for each in photo.meta.captions] == [caption]
    assert photo.notes == ()


@pytest.mark.parametrize("kind", KINDS)
def test_notes_say_what_was_left_out(kind: str) -> None:
    """Every word that does not come through is named, and so is a position."""
    notes = " | ".join(decode(captioned(kind), LIMITS).notes)
    assert "xmpMM" in notes
    assert "dc:format" in notes
    assert "Iptc4xmpExt:DigitalSourceType" in notes
    assert "GPS position" in notes
    assert "EXIF data say otherwise of dc:description" in notes
    if kind in ("JPEG", "TIFF"):
        assert "2:118" in notes
        assert "IPTC-IIM data say otherwise of photoshop:City" in notes


def test_position_in_xmp_stays_when_asked_for() -> None:
    photo = decode(captioned("PNG"), Limits(keep_gps=True))
    dumped = CAPTIONS.dump_json(photo.meta.captions).decode()
    assert "exif:GPSLatitude" in dumped
    assert not [note for note in photo.notes if "GPS" in note]


def test_a_description_in_exif_alone_is_enough() -> None:
    """Whatever its encoding: UTF-8, or the Latin of old cameras."""
    for text, encoding in (("Zürich, 祖母", "utf-8"), ("Zürich", "cp1252")):
        exif = Image.Exif()
        exif[270] = text.encode(encoding)
        (found,) = decode(saved(quarters(), "JPEG", exif=exif), LIMITS).meta.captions
        assert (found.name, found.items[0].text) == ("dc:description", text)


@pytest.mark.parametrize(
    "packet",
    [
        LAUGHS,
        b"<!DOCTYPE x SYSTEM 'http://169.254.169.254/'><x/>",
        _packet("<dc:title>" * 40 + "</dc:title>" * 40),
        _packet("<dc:title>x</dc:title>" * 20_000),
        _packet("<dc:title>x</dc:wrong>"),
        b"\xff\xfe<",
        b"no XML at all",
    ],
    ids=["entities", "external", "deep", "long", "unclosed", "cut", "text"],
)
def test_hostile_xml_is_left_out_with_a_note(packet: bytes) -> None:
    photo = _with_xmp(packet)
    assert photo.meta.captions == ()
    assert any("XMP" in note and "left out" in note for note in photo.notes)


def test_words_cannot_become_xml() -> None:
    """What looks like markup, and what XML cannot hold, comes out as text or not at
    all.
    """
    photo = _with_xmp(_packet("<dc:title>&lt;/rdf:RDF&gt;&amp;&quot;</dc:title>"))
    text = texts("t", workflow("upscale"), words=photo.meta.captions)
    packet = text["XML:com.adobe.xmp"]
    assert "<dc:title>&lt;/rdf:RDF&gt;&amp;" in packet
    exif = Image.Exif()
    exif[270] = "a\x01b\x0bc"
    (found,) = decode(saved(quarters(), "JPEG", exif=exif), LIMITS).meta.captions
    assert found.items[0].text == "abc"


def test_a_book_is_no_caption() -> None:
    """Beyond the limit the longest words are left out, by name; the others stay."""
    novel = f"<dc:description>{'word ' * 20_000}</dc:description>"
    photo = _with_xmp(_packet(f"{novel}<dc:title>short</dc:title>"))
    assert [each.name for each in photo.meta.captions] == ["dc:title"]
    assert "too long, and left out: dc:description" in photo.notes


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "dc:a b"},
        {"name": "dc:a><b"},
        {"text": "\x01"},
        {"lang": '"'},
        {"kind": "Bag><"},
        {"more": 1},
    ],
)
def test_a_decoder_that_lies_cannot_write_xml(fields: dict[str, Any]) -> None:
    """What comes from the decoder's process is checked again."""
    with pytest.raises(ValueError, match="validation error"):
        Property.model_validate(fields)


def test_a_manifest_of_origin_is_noted() -> None:
    """C2PA, in a chunk that this reader does not know."""
    box = (
        b"\0\0\0\x20jumdc2pa" + bytes.fromhex("00110010800000aa00389b71") + b"\x03c2pa"
    )
    notes = decode(png(quarters(), (b"caBX", box)), LIMITS).notes
    assert any("C2PA" in note for note in notes)
    assert decode(png(quarters()), LIMITS).notes == ()


def test_comments_of_a_format_are_noted() -> None:
    notes = decode(saved(quarters(), "JPEG", comment=b"by hand"), LIMITS).notes
    assert notes == ("the file's comment was left out",)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_print_keeps_its_size(
    orientation: int, tmp_path: Path, decoder: Decoder
) -> None:
    """Twice the pixels are twice the resolution, in PNG's chunk and in EXIF alike, and
    in the direction in which the photo is upright.
    """
    needs_program("exiftool", "libimage-exiftool-perl")
    exif = Image.Exif()
    exif[271], exif[274] = "Leica", orientation
    exif[282], exif[283], exif[296] = 300.0, 150.0, 2
    photo = decoder.decode(saved(quarters(), "JPEG", exif=exif, dpi=(300, 150)))
    doubled = photo.resized(photo.pixels.repeat(2, 0).repeat(2, 1), None)
    result, _ = _outputs(doubled, tmp_path, decoder)
    words = words_of(result)
    across, down = (600, 300) if orientation == 1 else (300, 600)
    assert (words["IFD0:XResolution"], words["IFD0:YResolution"]) == (across, down)
    chunk = words["PNG-pHYs:PixelsPerUnitX"], words["PNG-pHYs:PixelsPerUnitY"]
    assert chunk == pytest.approx((across / 0.0254, down / 0.0254), abs=1)
    with Image.open(io.BytesIO(result.read_bytes())) as image:
        assert image.info["dpi"] == pytest.approx((across, down), abs=0.05)
