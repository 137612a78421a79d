"""When a file of a source was last changed: all that some albums know of a date."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime

_EXTENDED = 0x5455
"""The field of a ZIP member with its times in UTC."""
_FIELD = struct.Struct("<HH")
_HAS_MODIFIED = 1
_NO_DATE = (1980, 1, 1, 0, 0, 0)
"""What a ZIP file says where nobody told it a date."""


def of_seconds(seconds: float) -> datetime | None:
    """The time so many seconds after 1970; None: no time that can be meant."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None
    except (OverflowError, OSError, ValueError):
        return None


def of_zipped(info: zipfile.ZipInfo) -> datetime | None:
    """The time of a ZIP member: in UTC where it says that, else on the clock of a place,
    which is taken for this machine's.
    """
    for kind, data in _fields(info.extra):
        if kind == _EXTENDED and len(data) >= 5 and data[0] & _HAS_MODIFIED:
            return of_seconds(struct.unpack_from("<i", data, 1)[0])
    if info.date_time == _NO_DATE:
        return None
    try:
        return datetime(*info.date_time).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and data of each field, as far as they can be read."""
    at = 0
    while at + _FIELD.size <= len(extra):
        kind, size = _FIELD.unpack_from(extra, at)
        at += _FIELD.size
        yield kind, extra[at : at + size]
        at += size
