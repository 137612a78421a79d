"""A report as a sheet of paper: what stands where, in words of one language. The
template `sheet.typ` lays it out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from handlers.reports.words import Language, Words

Tone = Literal["good", "bad", "busy"]
Kind = Literal["half", "wide", "sums", "figures"]
MOST_VALUE = 160
"""Most characters of a value: strokes of a brush, as a parameter, may be thousands."""
MOST_NAME = 240


@dataclass(frozen=True)
class Picture:
    """One picture with what stands below it. `name`: of its bytes, which are given to the
    template beside the sheet; `missing`: what stands there without them.
    """

    name: str
    caption: str
    detail: str = ""
    missing: str = ""


@dataclass(frozen=True)
class Fact:
    label: str
    value: str


@dataclass(frozen=True)
class Table:
    """One table. Two `half` ones stand beside each other; the last cell of each row of
    `sums` is a checksum; `figures` have many columns, in small letters.

    Above it stand, where they are given, a sentence `says` and a chart: `chart` names its
    SVG, which is given to the template beside the sheet, `chart_says` what it shows,
    `key` its three colours, and `named` lists what its bars are.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    kind: Kind = "wide"
    says: str = ""
    chart: str = ""
    chart_says: str = ""
    key: Sequence[str] = ()
    named: Sequence[str] = ()


@dataclass(frozen=True)
class Sheet:
    """One report. `ident`: an id that stands on every page; `columns` of pictures, each
    at most `picture_height` mm high; `url`: where it leads, "" where that is not known.
    """

    language: Language
    kicker: str
    title: str
    ident: str
    subtitle: str
    status: str
    tone: Tone
    made_at: datetime
    made: str
    foot: str
    columns: int = 2
    picture_height: int = 70
    facts: Sequence[Fact] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    notes_title: str = ""
    notes: Sequence[str] = ()
    signature: str = ""
    signature_title: str = ""
    signature_says: str = ""
    url: str = ""
    keywords: Sequence[str] = ()


def moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def size(count: int) -> str:
    """482113 → `482 kB`."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.1f} GB"


def seconds(count: float) -> str:
    if count < 60:
        return f"{count:.3g} s"
    return f"{int(count // 60)} min {count % 60:.0f} s"


def pixels(width: int | None, height: int | None) -> str:
    return f"{width:,} × {height:,}" if width and height else ""


def value(words: Words, given: Any) -> str:
    """A parameter or a figure as people read it; a long one is cut."""
    if isinstance(given, float):
        return f"{given:.4g}"
    if isinstance(given, bool | str):
        shown = str(given).lower() if isinstance(given, bool) else given
        return words.find(f"value.{shown}", cut(shown, MOST_VALUE))
    if isinstance(given, dict | list):
        given = json.dumps(given, ensure_ascii=False)
    return cut("" if given is None else str(given), MOST_VALUE)


def cut(text: str, most: int) -> str:
    """The text with its middle left out where it is longer than `most` characters."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]} … {text[-most // 3 :]}"
