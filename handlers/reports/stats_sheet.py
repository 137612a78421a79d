"""The figures of a period as a sheet of paper: each table below its chart."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from handlers.audit_log.statistics import Statistics
from handlers.reports import charts, pdf, sheet
from handlers.reports.sheet import Sheet, Table
from handlers.reports.stats_charts import WORDS, chart_of, rate_of
from handlers.reports.tables import Cells, cell, tables
from shared import __version__

MOST_ROWS = 40
"""Rows of a table on paper; CSV and Parquet have them all."""


def pdf_report(found: Statistics, at: datetime) -> bytes:
    """The sheet as PDF/A, made `at` this time. Raises as `pdf.render`."""
    drawn = {
        each.name: charts.standalone(chart.svg)
        for each in tables(found)
        if (chart := chart_of(found, each.name)) is not None
    }
    return pdf.render(sheet_of(found, at), "", dict, drawn)


def sheet_of(found: Statistics, at: datetime) -> Sheet:
    """The sheet, in English as the page is."""
    until = found.until or at
    of_user = f" of user {found.user[:12]}…" if found.user else ""
    return Sheet(
        language="en",
        kicker="Statistics",
        title=f"{found.since:%Y-%m-%d} to {until:%Y-%m-%d}",
        ident=f"{found.since:%Y-%m-%d} to {until:%Y-%m-%d}",
        subtitle=f"{found.total.uploads:,} uploads{of_user}; {rate_of(found)}",
        status=f"{found.total.failed:,} failed",
        tone="bad" if found.total.failed else "good",
        made_at=at,
        made=sheet.moment(at),
        foot=f"Written by Darkroom {__version__}, from its audit log.",
        tables=[_table(found, each) for each in tables(found)],
        notes_title="Left out",
        notes=list(_left_out(found)),
    )


def _table(found: Statistics, shown: Cells) -> Table:
    chart = chart_of(found, shown.name)
    return Table(
        title=shown.title,
        head=[name.replace("_", " ") for name in shown.head],
        rows=[[cell(value) for value in row] for row in shown.rows[:MOST_ROWS]],
        kind="figures",
        says=WORDS.get(shown.name, ""),
        chart=shown.name if chart else "",
        chart_says=shown.title,
        key=chart.key if chart else (),
        named=chart.named if chart else (),
    )


def _left_out(found: Statistics) -> Iterator[str]:
    for each in tables(found):
        if len(each.rows) > MOST_ROWS:
            yield (
                f"{each.title}: {len(each.rows) - MOST_ROWS:,} more rows; `darkroom stats --csv FOLDER` has them all"
            )
