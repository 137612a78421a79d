"""Names of files as clients give them, made safe: none is ever a path of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass

from handlers.comfyui.errors import Refusal

MOST_CHARS = 200
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\\:*?\"<>|]")
_RESULT = re.compile(r"(?P<prefix>.+)_(?P<counter>\d{5,15})_\.png", re.DOTALL)
_ANNOTATED = re.compile(r"(.*) \[(input|output|temp)\]", re.DOTALL)


@dataclass(frozen=True)
class ResultName:
    """`{prefix}_{counter:05}_.png`, as ComfyUI names what it saves."""

    prefix: str
    counter: int

    def __str__(self) -> str:
        return f"{self.prefix}_{self.counter:05d}_.png"

    @classmethod
    def of(cls, text: str) -> ResultName | None:
        found = _RESULT.fullmatch(text)
        if found is None:
            return None
        name = cls(found["prefix"], int(found["counter"]))
        return name if str(name) == text else None


def checked(name: str, what: str) -> str:
    """A name of one file. Raises `Refusal`."""
    is_bad = not name or "/" in name or name.strip(". ") == ""
    if is_bad or len(name) > MOST_CHARS or _UNSAFE.search(name):
        detail = f"{what}: a plain name of a file with at most {MOST_CHARS} characters"
        raise Refusal("invalid_filename", "Invalid filename", detail)
    return name


def folder(path: str) -> str:
    """A folder inside of ours, empty for ours itself. Raises `Refusal`."""
    parts = [part for part in path.strip("/").split("/") if part not in ("", ".")]
    for part in parts:
        if part == "..":
            detail = "subfolder: a folder below, without `..`"
            raise Refusal("invalid_filename", "Invalid subfolder", detail)
        checked(part, "subfolder")
    joined = "/".join(parts)
    if len(joined) > MOST_CHARS:
        detail = f"subfolder: at most {MOST_CHARS} characters"
        raise Refusal("invalid_filename", "Invalid subfolder", detail)
    return joined


def split(path: str, what: str) -> tuple[str, str]:
    """Folder and name of `folder/name`. Raises `Refusal`."""
    parent, _, name = path.rpartition("/")
    return folder(parent), checked(name, what)


def annotated(name: str) -> tuple[str, str | None]:
    """A name without the type behind it, as in `photo.png [input]`, and the type."""
    found = _ANNOTATED.fullmatch(name)
    return (found[1], found[2]) if found else (name, None)


def numbered(name: str, number: int) -> str:
    """`photo (1).png`; for 0 the name as it is."""
    if number == 0:
        return name
    stem, dot, ending = name.rpartition(".")
    return f"{stem} ({number}){dot}{ending}" if stem else f"{name} ({number})"
