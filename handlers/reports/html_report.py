"""The figures of a period as one page: charts, each beside its table, in light and dark,
without script and without anything from elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from html import escape
from pathlib import Path

from handlers.audit_log.statistics import Failure, Seconds, Statistics
from handlers.reports import charts
from handlers.reports.tables import Cells, cell, tables
from shared import __version__

MOST_BARS = 12
LEAST_S = 0.001
"""The shortest time that an axis of powers of ten shows."""
WORDS = {
    "total": "How the uploads of the period ended.",
    "workflows": "What was asked for.",
    "sizes": "Megapixels of the upload, scale, and the input size of the colour network where the workflow has one.",
    "failures": (
        "Each cause with the circumstances under which it struck, and the share of the photos that it ended among all "
        "that ended under the same ones. What came to no device has no device, concurrency or memory."
    ),
    "seconds": "Time of a worker on a restored photo: half of them took p50 at most, 95 of 100 p95, 99 of 100 p99.",
    "bursts": "Uploads in a minute, the most first.",
    "duplicates": "Uploads that shared a result that was there, and the time that workers were spared by that.",
    "users": "What each had restored, as for a bill: by the user's hash.",
}
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
<p>{found.total.uploads:,} uploads{of_user}; {_rate(found.total.success_rate)}. Written by Darkroom {__version__}.</p>
{parts}
</main>
</body>
</html>
"""


def _rate(rate: float | None) -> str:
    if rate is None:
        return "none has ended yet"
    return f"{rate:.1%} of those that ended were restored"


def _section(found: Statistics, shown: Cells) -> str:
    chart = _chart(found, shown.name)
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


def _chart(found: Statistics, name: str) -> str:
    """The chart of a table; "" where it has none."""
    drawing = {
        "workflows": _workflows,
        "sizes": _sizes,
        "failures": _failures,
        "seconds": _seconds,
        "days": _days,
    }.get(name)
    return drawing(found) if drawing else ""


def _workflows(found: Statistics) -> str:
    rows = [
        charts.Bar(
            each.workflow or "none",
            each.uploads,
            f"{each.uploads:,} ({each.share:.0%})",
        )
        for each in found.workflows[:MOST_BARS]
    ]
    return charts.bars("Uploads by workflow", _leads(rows), rows)


def _sizes(found: Statistics) -> str:
    counts: dict[str, int] = defaultdict(int)
    for each in found.sizes:
        counts[each.megapixels or "not known"] += each.uploads
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    rows = [
        charts.Bar(f"{name} MP", uploads, f"{uploads:,}") for name, uploads in ordered
    ]
    return charts.bars("Uploads by size", _leads(rows), rows)


def _failures(found: Statistics) -> str:
    rows = [
        charts.Bar(
            f"{place}. {each.error_code}",
            each.rate,
            f"{each.rate:.0%} of {each.ended}",
        )
        for place, each in enumerate(found.failures[:MOST_BARS], 1)
    ]
    says = "Share of the photos that ended by this cause, of all under the same circumstances."
    named = "".join(
        f"<li>{escape(str(each.error_code))}: {escape(_circumstances(each))}, {each.failures} of {each.ended}</li>"
        for each in found.failures[:MOST_BARS]
    )
    return charts.bars("Failures", says, rows) + f"<ol>{named}</ol>"


def _circumstances(failure: Failure) -> str:
    size = f"{failure.megapixels} MP" if failure.megapixels else "size not known"
    if failure.device is None:
        return size
    return f"{size}, {failure.concurrency or '?'} in hand, {failure.memory_gib or '?'} GiB, {failure.device}"


def _seconds(found: Statistics) -> str:
    rows = [
        charts.Span(
            f"{each.workflow}, {each.megapixels or '?'} MP",
            max(each.p50_s, LEAST_S),
            max(each.p95_s, LEAST_S),
            max(each.p99_s, LEAST_S),
        )
        for each in _most_frequent(found.seconds)
    ]
    key = _key("half within (p50)", "95 of 100 within (p95)", "99 of 100 within (p99)")
    says = (
        "p50, p95 and p99 in seconds, by workflow and size; the axis has powers of ten."
    )
    return key + charts.spans("Seconds of restored photos", says, rows)


def _most_frequent(seconds: list[Seconds]) -> list[Seconds]:
    """As many as a chart shows, in their order."""
    most = sorted(seconds, key=lambda each: -each.photos)[:MOST_BARS]
    return [each for each in seconds if each in most]


def _days(found: Statistics) -> str:
    rows = [
        charts.Column(
            day.day.isoformat(),
            (day.success, day.uploads - day.success - day.failed, day.failed),
        )
        for day in found.days
    ]
    key = _key("restored", "all else", "failed")
    says = f"{len(rows)} days; the busiest had {max((day.uploads for day in found.days), default=0):,} uploads."
    return key + charts.columns("Uploads by day", says, rows)


def _key(*names: str) -> str:
    marks = "".join(
        f'<span><i class="{kind}"></i>{escape(name)}</span>'
        for kind, name in zip("abc", names, strict=True)
    )
    return f'<div class="key">{marks}</div>'


def _leads(rows: list[charts.Bar]) -> str:
    return f"{rows[0].name} leads with {rows[0].text}." if rows else "None."
