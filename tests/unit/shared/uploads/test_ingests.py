"""What a job says of the files of its source."""

from __future__ import annotations

import pytest

from shared.uploads.ingests import SkippedFile


@pytest.mark.parametrize(
    ("photo", "path", "is_beside"),
    [
        ("a/IMG.jpg", "a/IMG.mov", True),
        ("a/IMG.jpg", "a/IMG.jpg.xmp", True),
        ("a/IMG.jpg", "a/IMG_b.jpg", True),
        ("a/IMG.jpg", "a/IMG2.mov", False),
        ("album.2020/scan", "album.2020/scan.xmp", True),
        ("album.2020/scan", "album.2020/other.mov", False),
        ("album.2020/scan", "album.txt", False),
    ],
)
def test_beside_a_photo_is_what_has_its_name(
    photo: str, path: str, is_beside: bool
) -> None:
    """A dot in a folder's name is none of the photo's."""
    assert SkippedFile(path=path, why="").is_beside(photo) == is_beside
