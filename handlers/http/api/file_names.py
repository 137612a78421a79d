"""The names under which results are saved: that of the photo, with what it is."""

from __future__ import annotations

import re
from urllib.parse import quote

from shared.uploads import keys
from shared.uploads.documents import Source

MOST_CHARS = 120
"""Of the photo's own name: file systems take 255 bytes, and a character may be three."""

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}$")
_UNSAFE = re.compile(
    r'[\x00-\x1f\x7f-\x9f\ud800-\udfff/\\:*?"<>|\u200e\u200f\u202a-\u202e\u2066-\u2069]+'
)
"""What a file system refuses, a header cannot hold, or turns a name around."""


def name_of(source: Source, what: str, extension: str) -> str:
    """`grandma-restored.png` of a photo that was called `grandma.tif`."""
    return saved_name(source.filename or keys.filename(source.key), what, extension)


def saved_name(name: str, what: str, extension: str) -> str:
    """`grandma-restored.png` of a photo's own name."""
    return f"{title_of(name)}-{what}.{extension}"


def title_of(name: str) -> str:
    """What a photo is called, without the suffix of its file."""
    stem = _SUFFIX.sub("", name)
    safe = _UNSAFE.sub("_", stem).strip(" ._")[:MOST_CHARS].rstrip(" .")
    return safe or "photo"


def disposition(name: str, *, attachment: bool) -> str:
    """`Content-Disposition` by RFC 6266: the name in ASCII for old clients, and whole."""
    kind = "attachment" if attachment else "inline"
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    # A percent sign in the plain form is decoded by some browsers.
    plain = plain.replace("%", "_")
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
