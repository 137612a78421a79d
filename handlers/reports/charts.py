"""Charts as SVG inside a page: text that scales, colours of the page's own, no script.

Each is an image to a screen reader, with a title and a sentence; the page has its table
beside it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 720
LABEL = 190
"""Room for the names at the left [px]."""
ROW = 26
"""Height of one row [px]."""
COLUMNS_HEIGHT = 180
NAME_CHARACTERS = 26
COLOURS = ("#2563a8", "#b7791f", "#b3261e")
"""Of the kinds `a`, `b` and `c`, on paper; a page has its own, in light and dark."""
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
ON_PAPER = (
    "text{font:13px 'Noto Sans SC';fill:#1d1916}.axis{font-size:12px;fill:#6a5f56}"
    ".grid{stroke:#ddd3c6}.span{stroke:#6a5f56;stroke-width:2}"
    + "".join(
        f".{kind}{{fill:{each}}}" for kind, each in zip("abc", COLOURS, strict=True)
    )
)


@dataclass(frozen=True)
class Bar:
    """One bar: its name, its value, and what stands at its end."""

    name: str
    value: float
    text: str


@dataclass(frozen=True)
class Span:
    """Three values of one row, such as percentiles; above 0."""

    name: str
    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Column:
    """One column: its name, and its parts from the ground up."""

    name: str
    parts: Sequence[float]


def standalone(svg: str) -> str:
    """A chart that no page gives its colours and letters."""
    named = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return named.replace("<title>", f"<style>{ON_PAPER}</style><title>", 1)


def bars(title: str, says: str, rows: Sequence[Bar]) -> str:
    """Horizontal bars, one below the other."""
    most = max((row.value for row in rows), default=0) or 1
    room = WIDTH - LABEL - 110
    drawn = []
    for place, row in enumerate(rows):
        y = place * ROW
        length = room * row.value / most
        drawn += [
            _name(row.name, y),
            f'<rect class="a" x="{LABEL}" y="{y + 4}" width="{length:.1f}" height="{ROW - 8}" rx="2"/>',
            f'<text x="{LABEL + length + 6:.1f}" y="{y + 18}">{_text(row.text)}</text>',
        ]
    return _svg(title, says, len(rows) * ROW, drawn)


def spans(title: str, says: str, rows: Sequence[Span]) -> str:
    """A line from the lowest to the highest value of each row, with a dot at each, on
    an axis of powers of ten.
    """
    values = [value for row in rows for value in (row.low, row.high)]
    first = math.floor(math.log10(min(values, default=1)))
    last = max(math.ceil(math.log10(max(values, default=1))), first + 1)
    room = WIDTH - LABEL - 40

    def x(value: float) -> float:
        return LABEL + room * (math.log10(value) - first) / (last - first)

    drawn = []
    height = len(rows) * ROW
    for power in range(first, last + 1):
        at = x(10.0**power)
        drawn += [
            f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{height}"/>',
            f'<text class="axis" x="{at:.1f}" y="{height + 16}" text-anchor="middle">{10.0**power:g} s</text>',
        ]
    for place, row in enumerate(rows):
        y = place * ROW + ROW / 2
        drawn.append(_name(row.name, place * ROW))
        drawn.append(
            f'<line class="span" x1="{x(row.low):.1f}" x2="{x(row.high):.1f}" y1="{y}" y2="{y}"/>'
        )
        for kind, value in (("a", row.low), ("b", row.middle), ("c", row.high)):
            drawn.append(f'<circle class="{kind}" cx="{x(value):.1f}" cy="{y}" r="5"/>')
    return _svg(title, says, height + 24, drawn)


def columns(title: str, says: str, rows: Sequence[Column]) -> str:
    """Vertical columns of stacked parts, with the names of the first and the last."""
    most = max((sum(row.parts) for row in rows), default=0) or 1
    room = WIDTH - 60
    step = room / max(len(rows), 1)
    drawn = [
        f'<text class="axis" x="52" y="12" text-anchor="end">{most:g}</text>',
        f'<text class="axis" x="52" y="{COLUMNS_HEIGHT}" text-anchor="end">0</text>',
        f'<line class="grid" x1="58" x2="{WIDTH}" y1="{COLUMNS_HEIGHT}" y2="{COLUMNS_HEIGHT}"/>',
    ]
    for place, row in enumerate(rows):
        top = float(COLUMNS_HEIGHT)
        for kind, part in zip("abc", row.parts, strict=False):
            height = COLUMNS_HEIGHT * part / most
            top -= height
            drawn.append(
                f'<rect class="{kind}" x="{60 + place * step:.1f}" y="{top:.1f}" '
                f'width="{max(step - 2, 1):.1f}" height="{height:.1f}"/>'
            )
    if rows:
        y = COLUMNS_HEIGHT + 18
        drawn.append(f'<text class="axis" x="60" y="{y}">{_text(rows[0].name)}</text>')
        drawn.append(
            f'<text class="axis" x="{WIDTH}" y="{y}" text-anchor="end">{_text(rows[-1].name)}</text>'
        )
    return _svg(title, says, COLUMNS_HEIGHT + 26, drawn)


def _text(text: str) -> str:
    """A text in XML, which has no word for some characters."""
    return escape(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", text))


def _name(text: str, y: float) -> str:
    short = text if len(text) <= NAME_CHARACTERS else text[: NAME_CHARACTERS - 1] + "…"
    return f'<text x="{LABEL - 8}" y="{y + 18}" text-anchor="end">{_text(short)}</text>'


def _svg(title: str, says: str, height: float, drawn: Sequence[str]) -> str:
    box = f"0 0 {WIDTH} {max(height, 1):g}"
    label = f"{_text(title)}. {_text(says)}"
    return (
        f'<svg role="img" viewBox="{box}" aria-label="{label}">'
        f"<title>{_text(title)}</title><desc>{_text(says)}</desc>"
        f"{''.join(drawn)}</svg>"
    )
