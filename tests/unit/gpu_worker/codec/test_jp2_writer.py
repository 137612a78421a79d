"""JP2 copies: the same pixels to the level, and all that is said of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpu_worker.codec import Decoder, obstacle, write_copy
from gpu_worker.codec.colour import srgb
from gpu_worker.photo import Metadata, Photo
from shared.runtime.settings import Settings
from tests.support.captioned import CAPTION, captioned, words_of
from tests.support.extras import needs_program
from tests.support.pictures import photo_like

SETTINGS = Settings()
PACKET = '<x:xmpmeta xmlns:x="adobe:ns:meta/">Großmutter 祖母</x:xmpmeta>'


def _jp2(photo: Photo, xmp: str = PACKET) -> bytes:
    out = io.BytesIO()
    write_copy(photo, "jp2", out, xmp, SETTINGS, None)
    return out.getvalue()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_no_pixel_is_lost(channels: int, alpha: bool) -> None:
    """Of a picture that ends within a tile of the encoder, too."""
    pixels = photo_like(120, 1100)[..., :channels].copy()
    opacity = np.full(pixels.shape[:2], 200, np.uint8) if alpha else None
    image = Image.open(io.BytesIO(_jp2(Photo(pixels, opacity))))
    array = np.asarray(image).reshape(*pixels.shape[:2], -1)
    colours = array[..., :3] if alpha else array
    assert np.array_equal(colours, np.broadcast_to(pixels, colours.shape))
    if opacity is not None:
        assert np.array_equal(array[..., 3], opacity)


def test_our_decoder_finds_what_was_said() -> None:
    decoder = Decoder(SETTINGS)
    meta = Metadata(icc=srgb(), dpi=(1200.0, 600.0))
    data = _jp2(Photo(photo_like(60, 80), meta=meta))
    found = decoder.decode(data)
    decoder.close()
    assert found.meta.icc == srgb()
    assert found.meta.dpi == pytest.approx((1200.0, 600.0))
    assert PACKET.encode() in data


def test_another_reader_finds_words_and_print_size(tmp_path: Path) -> None:
    needs_program("exiftool", "libimage-exiftool-perl")
    decoder = Decoder(SETTINGS)
    photo = decoder.decode(captioned("JPEG"))
    decoder.close()
    file = tmp_path / "a.jp2"
    xmp = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description
 xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:description><rdf:Alt><rdf:li
 xml:lang="x-default">{CAPTION}</rdf:li></rdf:Alt></dc:description>
 </rdf:Description></rdf:RDF></x:xmpmeta>"""
    file.write_bytes(_jp2(photo, xmp))
    words: dict[str, Any] = words_of(file)
    assert words["XMP-dc:Description"] == CAPTION
    assert words["IFD0:Artist"] == "V. Maier"
    assert words["IFD0:XResolution"] == 300
    # A power of 2 is a unit to this reader: dots a centimetre.
    assert words["Jpeg2000:CaptureXResolution"] == pytest.approx(118.1102)
    assert "Warning" not in str(words)


def test_sixteen_bits_are_told() -> None:
    why = obstacle(Photo(np.zeros((4, 4, 3), np.uint16)), "jp2")
    assert why
    assert "ask for tiff" in why
