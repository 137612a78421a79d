"""The charts of a period's figures: what each shows, for the page and for the PDF."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from handlers.audit_log.statistics import Failure, Seconds, Statistics
from handlers.reports import charts

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
"""Table → what it answers."""


@dataclass(frozen=True)
class Chart:
    """An SVG with the names of its colours, and the circumstances of its bars where they
    are too long to stand beside them.
    """

    svg: str
    key: Sequence[str] = ()
    named: Sequence[str] = ()


def chart_of(found: Statistics, table: str) -> Chart | None:
    """The chart of a table; None where it has none."""
    drawing = DRAWINGS.get(table)
    return drawing(found) if drawing else None


def rate_of(found: Statistics) -> str:
    """How many were restored, in words."""
    rate = found.total.success_rate
    if rate is None:
        return "none has ended yet"
    return f"{rate:.1%} of those that ended were restored"


def _workflows(found: Statistics) -> Chart:
    rows = [
        charts.Bar(
            each.workflow or "none",
            each.uploads,
            f"{each.uploads:,} ({each.share:.0%})",
        )
        for each in found.workflows[:MOST_BARS]
    ]
    return Chart(charts.bars("Uploads by workflow", _leads(rows), rows))


def _sizes(found: Statistics) -> Chart:
    counts: dict[str, int] = defaultdict(int)
    for each in found.sizes:
        counts[each.megapixels or "not known"] += each.uploads
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    rows = [
        charts.Bar(f"{name} MP", uploads, f"{uploads:,}") for name, uploads in ordered
    ]
    return Chart(charts.bars("Uploads by size", _leads(rows), rows))


def _failures(found: Statistics) -> Chart:
    shown = found.failures[:MOST_BARS]
    rows = [
        charts.Bar(
            f"{place}. {each.error_code}",
            each.rate,
            f"{each.rate:.0%} of {each.ended}",
        )
        for place, each in enumerate(shown, 1)
    ]
    says = "Share of the photos that ended by this cause, of all under the same circumstances."
    named = [
        f"{each.error_code}: {_circumstances(each)}, {each.failures} of {each.ended}"
        for each in shown
    ]
    return Chart(charts.bars("Failures", says, rows), named=named)


def _circumstances(failure: Failure) -> str:
    size = f"{failure.megapixels} MP" if failure.megapixels else "size not known"
    if failure.device is None:
        return size
    return f"{size}, {failure.concurrency or '?'} in hand, {failure.memory_gib or '?'} GiB, {failure.device}"


def _seconds(found: Statistics) -> Chart:
    rows = [
        charts.Span(
            f"{each.workflow}, {each.megapixels or '?'} MP",
            max(each.p50_s, LEAST_S),
            max(each.p95_s, LEAST_S),
            max(each.p99_s, LEAST_S),
        )
        for each in _most_frequent(found.seconds)
    ]
    key = ("half within (p50)", "95 of 100 within (p95)", "99 of 100 within (p99)")
    says = (
        "p50, p95 and p99 in seconds, by workflow and size; the axis has powers of ten."
    )
    return Chart(charts.spans("Seconds of restored photos", says, rows), key)


def _most_frequent(seconds: list[Seconds]) -> list[Seconds]:
    """As many as a chart shows, in their order."""
    most = sorted(seconds, key=lambda each: -each.photos)[:MOST_BARS]
    return [each for each in seconds if each in most]


def _days(found: Statistics) -> Chart:
    rows = [
        charts.Column(
            day.day.isoformat(),
            (day.success, day.uploads - day.success - day.failed, day.failed),
        )
        for day in found.days
    ]
    says = f"{len(rows)} days; the busiest had {max((day.uploads for day in found.days), default=0):,} uploads."
    key = ("restored", "all else", "failed")
    return Chart(charts.columns("Uploads by day", says, rows), key)


def _leads(rows: list[charts.Bar]) -> str:
    return f"{rows[0].name} leads with {rows[0].text}." if rows else "None."


DRAWINGS: dict[str, Callable[[Statistics], Chart]] = {
    "workflows": _workflows,
    "sizes": _sizes,
    "failures": _failures,
    "seconds": _seconds,
    "days": _days,
}
