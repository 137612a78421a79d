"""Captions that come beside a photo, out of a manifest or a sidecar: Dublin Core, as
object metadata holds it.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from shared.errors import Code, PermanentError
from shared.uploads.identity import canonical_json

NAMES = (
    *("dc.title", "dc.description", "dc.creator", "dc.subject"),
    *("dc.date", "dc.coverage", "dc.rights"),
)
"""Several values of one stand apart by `|`."""
MOST_CHARS = 1200
"""As metadata: an object has room for two thousand characters altogether."""

_WORDS = TypeAdapter(dict[str, str])
# A value with `=?` would be taken for a word of RFC 2047.
_PLAIN = f"{string.punctuation.translate({ord('%'): None, ord('='): None})} "


def fitting(words: Mapping[str, str]) -> dict[str, str]:
    """The captions among some words, without the longest ones where all are too long."""
    found = {name: words[name] for name in NAMES if words.get(name)}
    while len(written(found)) > MOST_CHARS:
        del found[max(found, key=lambda name: len(found[name]))]
    return found


def written(captions: Mapping[str, str]) -> str:
    """Captions as the value of metadata, in ASCII."""
    return quote(canonical_json(dict(captions)).decode(), safe=_PLAIN)


def parse(text: str) -> dict[str, str] | None:
    """The captions of a value, decoded; None where it is empty.

    Raises `PermanentError(bad_metadata)`.
    """
    if not text:
        return None
    try:
        found = _WORDS.validate_python(json.loads(text), strict=True)
    except (ValueError, ValidationError, RecursionError):
        found = {"": ""}
    unknown = set(found) - set(NAMES)
    if unknown:
        detail = f"captions must be a JSON object of texts, by {', '.join(NAMES)}"
        raise PermanentError(Code.BAD_METADATA, detail)
    return found or None
