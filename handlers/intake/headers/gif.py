"""GIF: a walk over its blocks to the second picture or the end."""

from __future__ import annotations

from handlers.intake.headers.stream import Broken, Forward, Found, Header

_EXTENSION, _PICTURE, _END = 0x21, 0x2C, 0x3B


def gif(stream: Forward, found: Found) -> int:
    """Stops at the second picture: two are already an animation."""
    stream.skip(6)
    screen = (stream.number(2, "little"), stream.number(2, "little"))
    flags = stream.number(1)
    stream.skip(2 + _table(flags))
    pictures = 0
    while (block := stream.number(1)) != _END:
        if block == _EXTENSION:
            stream.skip(1)
        elif block == _PICTURE:
            pictures += 1
            if pictures == 2:
                break
            left, top, width, height = (stream.number(2, "little") for _ in range(4))
            # Decoders enlarge the screen to hold a first picture that reaches beyond
            # it.
            found(
                Header(
                    "GIF",
                    max(screen[0], left + width),
                    max(screen[1], top + height),
                    "P",
                )
            )
            stream.skip(_table(stream.number(1)) + 1)
        else:
            raise Broken(f"a block of the unknown kind {block:#04x}")
        while size := stream.number(1):
            stream.skip(size)
    if not pictures:
        raise Broken("it holds no picture")
    stream.drain()
    return pictures


def _table(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
