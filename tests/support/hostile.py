"""Hostile files: bombs, polyglots, strangers in a photo's clothes, broken structures,
absurd metadata, hostile keys.

All are made here from a seed, none is stored. `corpus()` gives the same files on every
day; most are malformed, the rest are sound photos that carry something they should not.
"""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.support.hostile_bombs import bombs
from tests.support.hostile_data import KEYS, STRANGERS
from tests.support.hostile_fields import FIELDS, PNG_MAGIC, chunk
from tests.support.hostile_metadata import metadata
from tests.support.hostile_sound import png_with, segment, sound

SEED = 20261123
MUTANTS = 45


@dataclass(frozen=True)
class Hostile:
    """`kind`: the group it belongs to; `key`: where it is uploaded."""

    kind: str
    key: str
    data: bytes


def corpus() -> Iterator[Hostile]:
    """Every hostile file, in a fixed order."""
    for kind, make in GROUPS.items():
        for key, data in make():
            yield Hostile(kind, key, data)


Files = Iterator[tuple[str, bytes]]


def truncated() -> Files:
    """Cut at every boundary of the structure, and in the middle of every field."""
    for name, data in sound().items():
        ends = {
            at + n for at, size in _fields(name, data) for n in (0, size // 2, size)
        }
        yield from (
            (f"cut/{end}-{name}", data[:end])
            for end in sorted(ends)
            if 0 < end < len(data)
        )


def overflowed() -> Files:
    """Every field of the structure in turn: zero, one, the largest, the largest signed,
    one more, one less.
    """
    for name, data in sound().items():
        for at, size in _fields(name, data):
            for value in _extremes(data[at : at + size]):
                yield (
                    f"field/{at}-{value.hex()}-{name}",
                    data[:at] + value + data[at + size :],
                )


def _extremes(old: bytes) -> list[bytes]:
    size = len(old)
    number = int.from_bytes(old, "big")
    values = [
        0,
        1,
        256**size - 1,
        256**size // 2 - 1,
        (number + 1) % 256**size,
        (number - 1) % 256**size,
    ]
    found = [value.to_bytes(size, "big") for value in values]
    return [value for value in dict.fromkeys(found) if value != old][:4]


def _fields(name: str, data: bytes) -> list[tuple[int, int]]:
    """(offset, bytes) of the structure's fields: at most 21 a file, spread over all of
    it.
    """
    found = sorted(FIELDS[name.rpartition(".")[2]](data))
    step = max(1, len(found) // 21)
    return found[::step][:21]


def mutated() -> Files:
    """Bytes changed, put in, cut out and doubled at random, most of them near the
    beginning.
    """
    for name, data in sound().items():
        for number in range(MUTANTS):
            yield (
                f"mutant/{number}-{name}",
                _mutant(data, random.Random(f"{SEED} {name} {number}")),
            )


def _mutant(data: bytes, rng: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(min(len(made), rng.choice((64, 256, len(made)))))
        length = rng.choice((1, 1, 2, 4, 16))
        match rng.randrange(4):
            case 0:
                made[at : at + length] = rng.randbytes(length)
            case 1:
                made[at:at] = rng.randbytes(length)
            case 2 if len(made) > 40:
                del made[at : at + length]
            case _:
                made[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
    return bytes(made)


def strangers() -> Files:
    """What is no photo: under its own extension, and under those of photos."""
    for name, data in STRANGERS.items():
        yield from (
            (f"stranger/{name}.{extension}", data) for extension in (name, "jpg", "png")
        )


def liars() -> Files:
    """A format's magic bytes with another's body: the extension, the beginning and the
    rest say different things.
    """
    magics = [
        b"\xff\xd8\xff\xe0",
        PNG_MAGIC,
        b"GIF89a",
        b"II*\0",
        b"MM\0*",
        b"BM",
        b"RIFF\xff\0\0\0WEBP",
        b"\0\0\0\x1cftypavif",
    ]
    bodies = [*list(STRANGERS.values())[:12], *sound().values()]
    for number, magic in enumerate(magics):
        yield from (
            (f"liar/{number}-{other}.jpg", magic + body)
            for other, body in enumerate(bodies)
        )


def polyglots() -> Files:
    """Sound photos that are also something else. They may be restored; the result is
    made of pixels alone.
    """
    tails = {
        "zip": _zip(),
        "exe": STRANGERS["exe"],
        "php": STRANGERS["php"],
        "html": STRANGERS["html"],
        "pdf": STRANGERS["pdf"],
    }
    for name, data in sound().items():
        yield from (
            (f"polyglot/{kind}-{name}", data + tail) for kind, tail in tails.items()
        )
    yield (
        "polyglot/js.gif",
        b"GIF89a/*" + bytes(4) + sound()["photo.gif"][13:] + b"*/=1;alert(1)//",
    )
    yield "polyglot/js.bmp", b"BM/*" + sound()["photo.bmp"][4:] + b"*/=1;alert(1)"
    yield "polyglot/html.jpg", segment(0xFE, STRANGERS["html"])
    yield "polyglot/php.png", png_with(chunk(b"tEXt", b"c\0" + STRANGERS["php"]))


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        # at a date of its own
        archive.writestr(zipfile.ZipInfo("PLANTED.txt"), "PLANTED zip")
    return file.getvalue()


def keys() -> Files:
    """A sound photo and a stranger, each under every hostile key."""
    for key in KEYS:
        yield key, sound()["photo.png"]
        yield f"{key[:1000]}.x", STRANGERS["sh"]


GROUPS: dict[str, Callable[[], Files]] = {
    "truncated": truncated,
    "overflowed": overflowed,
    "mutated": mutated,
    "bombs": bombs,
    "strangers": strangers,
    "liars": liars,
    "polyglots": polyglots,
    "metadata": metadata,
    "keys": keys,
}
"""By kind. Nearly all of `polyglots` and half of `keys` are sound photos; every other
file is malformed or no photo.
"""
