"""HEIC files made by hand around one coded tile: grids, overlays, cuts, turns, and
boxes told in odd ways.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tests.support.codec_samples import HEIC
from tests.support.probe_samples import box

TILE_PX = 64


def _inside(data: bytes, name: bytes) -> bytes:
    """The whole first box `name`, wherever it is."""
    at = data.index(name) - 4
    return data[at : at + int.from_bytes(data[at : at + 4], "big")]


CONFIG = _inside(HEIC, b"hvcC")
SLICE = _inside(HEIC, b"mdat")[8:-56]
"""One picture of 64 x 64 pixels. The EXIF block behind it stays behind."""


def sized(width: int, height: int) -> bytes:
    return box(b"ispe", bytes(4), struct.pack(">II", width, height))


def cut(width: int, height: int) -> bytes:
    return box(b"clap", struct.pack(">8i", width, 1, height, 1, 0, 1, 0, 1))


def turned(quarters: int) -> bytes:
    return box(b"irot", bytes([quarters]))


def grid(rows: int, columns: int, width: int, height: int) -> bytes:
    return struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, width, height)


def overlay(width: int, height: int, count: int) -> bytes:
    return (
        struct.pack(">BB4HII", 0, 1, 0, 0, 0, 65535, width, height)
        + struct.pack(">ii", 0, 0) * count
    )


@dataclass(frozen=True)
class Derived:
    """What the picture is made of: `kind` with its `content`, of `tiles`, each an item
    of its own; or of itself.
    """

    kind: bytes
    content: bytes
    tiles: int
    of_itself: bool = False


def heif(*properties: bytes, derived: Derived | None = None) -> bytes:
    """A HEIC whose picture has `properties`: the tile itself, or something derived from
    tiles.
    """
    tiles = derived.tiles if derived else 1
    coded = [CONFIG, *([sized(TILE_PX, TILE_PX)] if derived else properties)]
    every = [*coded, *(properties if derived else ())]
    kinds = [b"hvc1"] * tiles + ([derived.kind] if derived else [])
    linked = [range(1, len(coded) + 1)] * tiles + (
        [range(len(coded) + 1, len(every) + 1)] if derived else []
    )
    idat = derived.content if derived else b""
    ftyp = box(b"ftyp", b"heic", bytes(4), b"mif1", b"heic")

    def meta(at: int) -> bytes:
        return box(
            b"meta",
            bytes(4),
            box(b"hdlr", bytes(8), b"pict", bytes(13)),
            box(b"pitm", bytes(4), _short(len(kinds))),
            _items(kinds),
            *_references(derived),
            box(b"iprp", box(b"ipco", *every), _links(linked)),
            box(b"idat", idat),
            _places(tiles, at, len(idat)),
        )

    return ftyp + meta(len(ftyp) + len(meta(0)) + 8) + box(b"mdat", SLICE)


def _short(number: int) -> bytes:
    return struct.pack(">H", number)


def _items(kinds: list[bytes]) -> bytes:
    hidden = [n < len(kinds) for n in range(1, len(kinds) + 1)]
    told = [
        box(
            b"infe", b"\2\0\0", bytes([hidden[n - 1]]), _short(n), bytes(2), kind, b"\0"
        )
        for n, kind in enumerate(kinds, 1)
    ]
    return box(b"iinf", bytes(4), _short(len(told)), *told)


def _links(linked: list[range]) -> bytes:
    told = [
        struct.pack(">HB", item, len(numbers)) + bytes(numbers)
        for item, numbers in enumerate(linked, 1)
    ]
    return box(b"ipma", bytes(4), struct.pack(">I", len(told)), *told)


def _references(derived: Derived | None) -> list[bytes]:
    if not derived:
        return []
    me = derived.tiles + 1
    to = [me] if derived.of_itself else range(1, me)
    return [
        box(
            b"iref",
            bytes(4),
            box(b"dimg", _short(me), _short(len(to)), *map(_short, to)),
        )
    ]


def _places(tiles: int, at: int, idat_bytes: int) -> bytes:
    """Where the items lie: the tiles in the file, all at one place; what is derived in
    `idat`.
    """
    places = [(item, 0, at, len(SLICE)) for item in range(1, tiles + 1)]
    places += [(tiles + 1, 1, 0, idat_bytes)] if idat_bytes else []
    told = [
        struct.pack(">HHHHII", item, method, 0, 1, start, size)
        for item, method, start, size in places
    ]
    return box(b"iloc", b"\1" + bytes(3), b"\x44\0", _short(len(told)), *told)
