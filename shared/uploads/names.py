"""Names that every file system and every archive takes, one for each photo."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

_FORBIDDEN = re.compile(r'[\\:*?"<>|%\x00-\x1f\x7f]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
MOST_BYTES = 200


class Names:
    """Gives each photo a name of its own. Names that differ only in case, or in the
    Unicode form of a letter, are one name on some systems, and so here.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name_for(self, path: str, suffix: str, mark: str = "") -> str:
        """The name of a photo's file: its place, with `mark` behind the stem, and with
        the suffix of the file. Of two photos with one stem the second keeps its own
        suffix before that; further ones get a number.
        """
        place = PurePosixPath(safe_path(path))
        folder = "" if place.parent == PurePosixPath() else f"{place.parent}/"
        candidates = [f"{place.stem}{mark}{suffix}", f"{place.name}{mark}{suffix}"]
        number = 2
        for name in candidates:
            if self._take(folder + name):
                return folder + name
        while not self._take(name := f"{folder}{place.name}{mark} ({number}){suffix}"):
            number += 1
        return name

    def _take(self, name: str) -> bool:
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in self._taken:
            return False
        self._taken.add(folded)
        return True


def safe_path(path: str) -> str:
    """A path whose parts every system takes; the true one stands in the manifest."""
    return "/".join(_safe_part(part) for part in path.split("/"))


def _safe_part(part: str) -> str:
    name = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", part)).rstrip(" .")
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    stem, dot, suffix = name.rpartition(".")
    if dot and stem:
        return _cut(stem, MOST_BYTES - len(suffix.encode()) - 1) + dot + suffix
    return _cut(name, MOST_BYTES) or "_"


def _cut(text: str, most: int) -> str:
    """As much of the text as so many bytes of UTF-8 hold, in whole characters."""
    return text.encode()[: max(most, 1)].decode(errors="ignore")
