"""The figures of a period as one page: charts, each beside its table, in light and dark,
without script and without anything from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from handlers.audit_log.statistics import Statistics
from handlers.reports.stats_charts import WORDS, Chart, chart_of, rate_of
from handlers.reports.tables import Cells, cell, tables
from shared import __version__

STYLE = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def html_report(found: Statistics) -> str:
    """The page, as one document."""
    title = f"Darkroom, since {found.since:%Y-%m-%d}"
    parts = "\n".join(_section(found, each) for each in tables(found))
    of_user = f" of user {escape(found.user)}" if found.user else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p>{found.total.uploads:,} uploads{of_user}; {rate_of(found)}. Written by Darkroom {__version__}.</p>
{parts}
</main>
</body>
</html>
"""


def _section(found: Statistics, shown: Cells) -> str:
    chart = _chart(chart_of(found, shown.name))
    words = WORDS.get(shown.name, "")
    table = _table(shown)
    if chart:
        table = f"<details><summary>The figures</summary>{table}</details>"
    said = f"<p>{escape(words)}</p>" if words else ""
    return f"<section><h2>{escape(shown.title)}</h2>{said}{chart}{table}</section>"


def _table(shown: Cells) -> str:
    numbers = {
        place
        for place in range(len(shown.head))
        if any(isinstance(row[place], int | float) for row in shown.rows)
    }

    def kind(place: int) -> str:
        return ' class="n"' if place in numbers else ""

    head = "".join(
        f'<th scope="col"{kind(place)}>{escape(name.replace("_", " "))}</th>'
        for place, name in enumerate(shown.head)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td{kind(place)}>{escape(cell(value))}</td>"
            for place, value in enumerate(row)
        )
        + "</tr>"
        for row in shown.rows
    )
    label = escape(shown.title)
    table = f'<table aria-label="{label}"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    # A table that scrolls sideways must be reached by the keyboard.
    return f'<div class="wide" tabindex="0" role="region" aria-label="{label}">{table}</div>'


def _chart(chart: Chart | None) -> str:
    """A chart between the key of its colours and its list; "" where there is none."""
    if chart is None:
        return ""
    listed = "".join(f"<li>{escape(each)}</li>" for each in chart.named)
    return (
        (_key(chart.key) if chart.key else "")
        + chart.svg
        + (f"<ol>{listed}</ol>" if listed else "")
    )


def _key(names: Sequence[str]) -> str:
    marks = "".join(
        f'<span><i class="{kind}"></i>{escape(name)}</span>'
        for kind, name in zip("abc", names, strict=True)
    )
    return f'<div class="key">{marks}</div>'
