"""From samples to figures, and how they are printed: a small table, or one JSON object."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Figures = Mapping[str, Any]
"""Figures of one row, by name; the name ends in the unit. None: this row has no such
figure.
"""


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, and the rounds at both ends."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all values do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def show(
    bench: str, settings: Figures, rows: Mapping[str, Figures], as_json: bool
) -> int:
    """Print a bench's report; the exit status of one that came to its end."""
    print(report(bench, settings, rows, as_json))
    return 0


def report(
    bench: str,
    settings: Figures,
    rows: Mapping[str, Figures],
    as_json: bool,
) -> str:
    """Return what a bench prints: what was measured, with which settings, and a row for
    each contender or process.
    """
    if as_json:
        return json.dumps({"bench": bench, **settings, "rows": rows}, default=vars)
    given = (f"{name} {_text(value)}" for name, value in settings.items())
    title = f"{bench}: {', '.join(given)}"
    return "\n".join([title, *_table(rows)])


def _table(rows: Mapping[str, Figures]) -> list[str]:
    # A dictionary, as it keeps the order in which the names are first met.
    heads: dict[str, None] = {}
    for figures in rows.values():
        heads |= dict.fromkeys(figures)
    lines = [["", *heads]]
    for row, figures in rows.items():
        cells = [_text(figures.get(name)) for name in heads]
        lines.append([row, *cells])
    columns = zip(*lines, strict=True)
    widths = [max(map(len, column)) for column in columns]
    return [_line(line, widths) for line in lines]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    name, width = first
    columns = [name.ljust(width)]
    columns += [cell.rjust(width) for cell, width in rest]
    return "  ".join(columns).rstrip()


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, Spread):
        return f"{_text(value.median)} ({_text(value.low)} to {_text(value.high)})"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
