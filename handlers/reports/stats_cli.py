"""`python -m handlers stats`: the figures of a period, printed or written."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from handlers.audit_log.database import AuditLog
from handlers.audit_log.statistics import Statistics, statistics
from handlers.audit_log.values import Filter
from handlers.reports.html_report import html_report
from handlers.reports.parquet import need_duckdb, write_parquet
from handlers.reports.pdf import need_typst
from handlers.reports.stats_sheet import pdf_report
from handlers.reports.tables import Cells, cell, tables, write_csv
from shared.errors import Code, SettingsError
from shared.runtime.settings import Settings

STATEMENT_S = 600
"""A person waits for these figures, and may ask for years."""
ALL = 10_000_000
"""Rows of a table: every one of them."""
SHOWN = 15
"""Most rows of a table in the terminal; CSV and JSON have them all."""
WIDTH = 120
"""Where no terminal says how wide it is."""


def main(settings: Settings, arguments: Sequence[str] = ()) -> int:
    """Print or write the figures. Raises `DatabaseUnavailable`, and `SettingsError` for
    options that make no sense.
    """
    options = _parser().parse_args(arguments)
    report = Path(options.report) if options.report else None
    if report is not None and report.suffix not in (".html", ".pdf"):
        raise SettingsError(
            f"--report {report}: the report is a page or a PDF; name it something.html or something.pdf"
        )
    if report is not None and report.suffix == ".pdf":
        need_typst()
    if options.parquet:
        need_duckdb()
    with closing(AuditLog(settings, STATEMENT_S)) as audit_log:
        since = datetime.now(UTC) - timedelta(days=options.days)
        where = Filter(since=since, user_id=options.user or None)
        found = statistics(audit_log, where, most_users=ALL, most_rows=ALL)
    if options.error:
        found = _only(found, options.error)
    if report is not None:
        _write_report(found, report)
    if options.csv:
        write_csv(found, Path(options.csv))
    if options.parquet:
        write_parquet(found, Path(options.parquet))
    if options.json:
        print(found.model_dump_json(indent=2))
    elif report is None and not options.csv and not options.parquet:
        _print(found, is_cause=bool(options.error))
    return 0


def _write_report(found: Statistics, file: Path) -> None:
    if file.suffix == ".pdf":
        file.write_bytes(pdf_report(found, datetime.now(UTC)))
    else:
        file.write_text(html_report(found), encoding="utf-8")


def _only(found: Statistics, error_code: str) -> Statistics:
    """The figures with the failures of one cause alone."""
    if error_code not in set(Code):
        raise SettingsError(
            f"--error {error_code!r} is no error code; they are {', '.join(Code)}"
        )
    failures = [each for each in found.failures if each.error_code == error_code]
    return found.model_copy(update={"failures": failures})


def _print(found: Statistics, is_cause: bool) -> None:
    width = None if sys.stdout.isatty() else WIDTH
    console = Console(width=width, highlight=False, markup=False)
    shown = tables(found)
    if is_cause:
        shown = [each for each in shown if each.name == "failures"]
        if not shown:
            console.print("no photo failed by this cause in that time")
    for each in shown:
        console.print(_table(each))
        if len(each.rows) > SHOWN:
            console.print(f"… {len(each.rows) - SHOWN} more: --json, or --csv FOLDER")


def _table(shown: Cells) -> Table:
    table = Table(title=shown.title, title_justify="left", box=SIMPLE, pad_edge=False)
    for name in shown.head:
        table.add_column(name, overflow="fold")
    for row in shown.rows[:SHOWN]:
        table.add_row(*map(cell, row))
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m handlers stats")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--user", default="")
    parser.add_argument("--error", default="")
    parser.add_argument("--report", default="")
    parser.add_argument("--csv", default="")
    parser.add_argument("--parquet", default="")
    parser.add_argument("--json", action="store_true")
    return parser
