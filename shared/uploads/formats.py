"""The formats of copies that are made beside a result, as they are asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, get_args

from shared.errors import Code, PermanentError

FileFormat = Literal["jpeg", "webp", "avif", "tiff", "jp2"]
"""What a copy can be written as; `jp2` at an export alone, as it takes long."""
JP2: FileFormat = "jp2"
CopyFormat = Literal["jpeg", "webp", "avif", "tiff", "same"]
Format = Literal["jpeg", "webp", "avif", "tiff", "same", "labelled"]
"""`same`: the original's own. `labelled`: a second copy of each with the visible label,
of a JPEG where no other is asked for.
"""

NO_FORMATS = "none"
"""Stands for no copies, where nothing would mean the default."""

EXTENSIONS: dict[FileFormat, str] = {
    "jpeg": "jpg",
    "webp": "webp",
    "avif": "avif",
    "tiff": "tif",
    "jp2": "jp2",
}
_SAME: dict[str, FileFormat] = {
    "JPEG": "jpeg",
    "WEBP": "webp",
    "AVIF": "avif",
    "TIFF": "tiff",
    "HEIC": "jpeg",
    "JPEG2000": "tiff",
    "PSD": "tiff",
    "DNG": "tiff",
    "RAW": "tiff",
}
"""The format of a copy like the original, by the original's, with another one for those
that are not written here. Of other originals the result itself is as good.
"""


def parse(text: str) -> list[Format]:
    """The formats of a list with commas or blanks, each once, in a fixed order.

    Raises `PermanentError(bad_parameter)`.
    """
    if text.strip() == NO_FORMATS:
        return []
    return ordered(word for word in re.split(r"[ ,]+", text.strip()) if word)


def ordered(words: Iterable[str]) -> list[Format]:
    """The formats, each once, in a fixed order. Raises `PermanentError(bad_parameter)`."""
    wanted = set(words)
    known = get_args(Format)
    for word in sorted(wanted - set(known)):
        detail = f"formats: {word[:40]!r} is none of {', '.join(known)}"
        raise PermanentError(Code.BAD_PARAMETER, detail)
    return [word for word in known if word in wanted]


def file_format(word: CopyFormat, source_format: str | None) -> FileFormat | None:
    """The file format that a word means; None: the result itself is of that kind."""
    if word == "same":
        return _SAME.get(source_format or "")
    return word
