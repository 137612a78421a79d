"""IPTC-IIM of strangers → properties, as the IPTC maps its old fields to XMP. It runs in
the decoder's process only.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Literal

from gpu_worker.codec.xmp_reader import text_of
from gpu_worker.photo import Property

_MARK = 0x1C
_HEADER = struct.Struct(">BBBH")
_LONG = 0x8000
_MAX_DATASETS = 10_000
_RECORD = 2
_UTF8 = b"\x1b%G"
_CHARSET = (1, 90)
_VERSION = 0
_DATE, _TIME = 55, 60

_Kind = Literal["text", "Bag", "Seq", "Alt"]
_FIELDS: dict[int, tuple[str, _Kind]] = {
    5: ("dc:title", "Alt"),
    10: ("photoshop:Urgency", "text"),
    12: ("Iptc4xmpCore:SubjectCode", "Bag"),
    15: ("photoshop:Category", "text"),
    20: ("photoshop:SupplementalCategories", "Bag"),
    25: ("dc:subject", "Bag"),
    40: ("photoshop:Instructions", "text"),
    80: ("dc:creator", "Seq"),
    85: ("photoshop:AuthorsPosition", "text"),
    90: ("photoshop:City", "text"),
    92: ("Iptc4xmpCore:Location", "text"),
    95: ("photoshop:State", "text"),
    100: ("Iptc4xmpCore:CountryCode", "text"),
    101: ("photoshop:Country", "text"),
    103: ("photoshop:TransmissionReference", "text"),
    105: ("photoshop:Headline", "text"),
    110: ("photoshop:Credit", "text"),
    115: ("photoshop:Source", "text"),
    116: ("dc:rights", "Alt"),
    120: ("dc:description", "Alt"),
    122: ("photoshop:CaptionWriter", "text"),
}
"""Datasets of record 2, by number."""


def read(data: bytes) -> tuple[list[Property], list[int]]:
    """The properties of a block of datasets, and the numbers of those in record 2 that
    have no property. Raises `ValueError` for a damaged block.
    """
    datasets: dict[tuple[int, int], list[bytes]] = {}
    for place, value in _datasets(data):
        datasets.setdefault(place, []).append(value)
    is_utf8 = _UTF8 in datasets.pop(_CHARSET, [])
    found, unknown = [], []
    values = {
        number: [text_of(value, is_utf8) for value in given]
        for (record, number), given in datasets.items()
        if record == _RECORD and number != _VERSION
    }
    if _DATE in values:
        date = _date(values.pop(_DATE)[0], values.pop(_TIME, [""])[0])
        found.append(Property(name="photoshop:DateCreated", text=date))
    for number, texts in values.items():
        if number in _FIELDS:
            found.append(_property(*_FIELDS[number], texts))
        else:
            unknown.append(number)
    return [each for each in found if each.items or each.text], unknown


def _datasets(data: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    at = 0
    for _ in range(_MAX_DATASETS):
        if at + _HEADER.size > len(data) or data[at] != _MARK:
            if at == 0 or data[at:].strip(b"\0"):
                raise ValueError("damaged IPTC-IIM data")
            return
        _, record, number, length = _HEADER.unpack_from(data, at)
        if length & _LONG:
            raise ValueError("an IPTC-IIM dataset of more than 32 kB")
        start = at + _HEADER.size
        if start + length > len(data):
            raise ValueError("damaged IPTC-IIM data")
        yield (record, number), data[start : start + length]
        at = start + length


def _property(name: str, kind: _Kind, texts: list[str]) -> Property:
    if kind == "text":
        return Property(name=name, text="; ".join(texts))
    language = "x-default" if kind == "Alt" else ""
    items = [Property(text=text, lang=language) for text in texts if text]
    return Property(name=name, kind=kind, items=tuple(items))


def _date(date: str, time: str) -> str:
    """`20010203` and `040506+0100` as `2001-02-03T04:05:06+01:00`; unknown parts of a
    date are zeros and fall away.
    """
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)", date)
    if not found:
        return date
    parts = [part for part in found.groups() if part.strip("0")]
    text = "-".join(parts)
    clock = re.fullmatch(r"(\d\d)(\d\d)(\d\d)(?:([+-]\d\d)(\d\d))?", time)
    if clock and len(parts) == 3:
        hours, minutes, seconds, zone_hours, zone_minutes = clock.groups()
        text += f"T{hours}:{minutes}:{seconds}"
        if zone_hours:
            text += f"{zone_hours}:{zone_minutes}"
    return text
