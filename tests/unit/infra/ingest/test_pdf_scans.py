"""Pictures come out of a PDF as they lie in it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from infra.ingest import inventory, sources
from infra.ingest.members import Member, Refused
from tests.support.extras import needs

needs("pypdf", "archive")

from pypdf import PdfWriter  # noqa: E402

from infra.ingest.pdf_scans import WithPdfs  # noqa: E402


def picture(mode: str, side: int = 120) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    return Image.fromarray(values).convert(mode)


def album(place: Path, *pictures: Image.Image) -> Path:
    """A folder with a PDF of so many pages."""
    place.mkdir()
    first, *rest = pictures
    first.save(place / "album.pdf", save_all=True, append_images=rest)
    return place


def test_a_jpeg_comes_out_to_the_byte(tmp_path: Path) -> None:
    """One a page, but for ornaments; a second look finds the same."""
    place = album(tmp_path / "box", picture("RGB"), picture("L"), picture("RGB", 20))
    source = WithPdfs(sources.opened(place))
    found = inventory.taken(source)
    assert list(found.photos) == ["album.pdf/0001.jpg", "album.pdf/0002.jpg"]
    assert "album.pdf" in found.skipped
    assert not found.faults
    data = (place / "album.pdf").read_bytes()
    for member in source.members():
        if member.path in found.photos:
            assert isinstance(member, Member)
            assert sources.read(member, 1 << 20) in data


def test_plain_numbers_become_a_png_and_a_fax_is_refused_by_name(
    tmp_path: Path,
) -> None:
    place = album(tmp_path / "box", picture("P"), picture("1"))
    members = [*WithPdfs(sources.opened(place)).members()]
    _, png, fax = members
    assert isinstance(png, Member)
    with Image.open(io.BytesIO(sources.read(png, 1 << 20))) as image:
        assert image.size == (120, 120)
    assert isinstance(fax, Refused)
    assert (fax.path, fax.fault.code) == ("album.pdf/0002.png", "unsupported_format")


def test_an_encrypted_one_is_refused_by_name(tmp_path: Path) -> None:
    place = album(tmp_path / "box", picture("RGB"))
    writer = PdfWriter(clone_from=place / "album.pdf")
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(place / "album.pdf")
    found = inventory.taken(WithPdfs(sources.opened(place)))
    (refused,) = found.faults
    assert (refused.path, refused.fault.code) == ("album.pdf", "encrypted")
    assert not found.photos


@pytest.mark.parametrize("data", [b"", b"%PDF-1.7\n", b"no pdf" * 100])
def test_a_broken_one_costs_only_itself(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.pdf").write_bytes(data)
    (tmp_path / "b.jpg").write_bytes(b"photo")
    found = inventory.taken(WithPdfs(sources.opened(tmp_path)))
    assert list(found.photos) == ["b.jpg"]
    assert [fault.fault.code for fault in found.faults] == ["source_unreadable"]
