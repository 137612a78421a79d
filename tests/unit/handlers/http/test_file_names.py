"""Results are saved under the photo's name, whatever that is."""

from __future__ import annotations

from datetime import UTC, datetime
from email.message import Message
from urllib.parse import unquote

import pytest

from handlers.http.api.file_names import disposition, name_of
from shared.uploads.documents import Source


def source(name: str | None, key: str = "users/x/y/photo") -> Source:
    return Source(
        bucket="uploads",
        key=key,
        filename=name,
        etag="e",
        bytes=1,
        upload_time=datetime(2026, 5, 4, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("grandma.tif", "grandma"),
        ("奶奶 1931.jpg", "奶奶 1931"),
        ("no suffix", "no suffix"),
        (".jpg", "photo"),
        ("../../etc/passwd", "etc_passwd"),
        ('a"; filename="b.exe', "a_; filename=_b"),
        ("a\r\nSet-Cookie: x=1.png", "a_Set-Cookie_ x=1"),
        ("gnp.\u202eexe.jpg", "gnp._exe"),
        ("...", "photo"),
        ("x" * 255 + ".jpg", "x" * 120),
        ("100%.png", "100%"),
    ],
)
def test_a_name_is_safe_and_still_known(name: str, stem: str) -> None:
    assert name_of(source(name), "restored", "png") == f"{stem}-restored.png"


def test_a_photo_without_a_name_has_that_of_its_key() -> None:
    found = source(None, "incoming/fast/scan 7.tiff")
    assert name_of(found, "mask", "png") == "scan 7-mask.png"


@pytest.mark.parametrize("name", ["a.png", "奶奶.png", "100%.png", "it's (1).png"])
def test_the_header_says_the_name_twice(name: str) -> None:
    """In ASCII, without what some browsers decode, and whole."""
    header = disposition(name, attachment=True)
    assert header.isascii()
    whole = header.rpartition("filename*=UTF-8''")[2]
    assert unquote(whole) == name
    message = Message()
    message["Content-Disposition"] = header.partition("; filename*")[0]
    plain = message.get_filename() or ""
    assert "%" not in plain
    assert len(plain) == len(name)
