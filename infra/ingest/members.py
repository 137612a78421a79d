"""One file of a source, and why one is not taken."""

from __future__ import annotations

import stat
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import IO

from shared.errors import Code, PermanentError

RESERVED_PARTS = ("", ".", "..")


class ItemFault(PermanentError):
    """An error that costs one file of a source, and nothing beside it."""


@dataclass(frozen=True)
class Member:
    """A file of a source.

    `path` is the file's place in the source, with `/` between the folders; `size` the
    bytes that the source states. `mark` changes when the file does, and costs no
    reading. `opened` gives the file's bytes, once. `modified_at`: the file's own time,
    where the source has it.
    """

    path: str
    size: int
    mark: str
    opened: Callable[[], AbstractContextManager[IO[bytes]]]
    modified_at: datetime | None = None


@dataclass(frozen=True)
class Refused:
    """A file of a source that cannot be taken, with the rule that it breaks."""

    path: str
    fault: ItemFault


def check_path(path: str) -> None:
    """Raises `ItemFault(unsafe_path)` for a name that leads out of the source, or that
    cannot be written down.
    """
    try:
        path.encode()
    except UnicodeEncodeError as error:
        detail = f"{path!r} is not UTF-8; rename the file"
        raise ItemFault(Code.UNSAFE_PATH, detail) from error
    is_absolute = path.startswith(("/", "\\")) or path[1:2] == ":"
    parts = path.replace("\\", "/").split("/")
    leads_out = any(part in RESERVED_PARTS for part in parts)
    if is_absolute or leads_out or "\0" in path:
        detail = f"{path!r} leads out of the source; pack it again with plain paths"
        raise ItemFault(Code.UNSAFE_PATH, detail)


def check_mode(path: str, mode: int) -> None:
    """Raises `ItemFault(unsafe_path)` for a link, a device, a pipe or a socket.

    `mode`: the file's type as `stat` has it; 0 where the source does not state one.
    """
    kind = stat.S_IFMT(mode)
    if kind not in (0, stat.S_IFREG):
        what = "a link" if kind == stat.S_IFLNK else "no plain file"
        detail = f"{path!r} is {what}; put the file itself in its place"
        raise ItemFault(Code.UNSAFE_PATH, detail)


class SeenOnce:
    """The names of one archive, of which none may occur twice: a reader that takes the
    first and one that takes the last would restore two different photos.
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def check(self, path: str) -> None:
        """Raises `ItemFault(unsafe_path)` for a name that was there before."""
        if path in self._seen:
            detail = f"{path!r} is twice in the archive; pack it again"
            raise ItemFault(Code.UNSAFE_PATH, detail)
        self._seen.add(path)
