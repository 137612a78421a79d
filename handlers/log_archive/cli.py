"""`python -m handlers log archive|query`."""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from handlers.audit_log.old_months import OldMonths
from handlers.context import Context
from shared.errors import SettingsError
from shared.runtime.installation import missing_part
from shared.runtime.settings import Settings

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def main(settings: Settings, arguments: Sequence[str] = ()) -> int:
    """Raises what `Archiver.run` and `query` raise, and `SettingsError` where the extra
    is missing that brings DuckDB.
    """
    options = _parser().parse_args(arguments)
    work = {"archive": _archive, "query": _query}[options.work]
    try:
        work(Context.of(settings), OldMonths(settings), options)
    except ModuleNotFoundError as error:
        raise missing_part(error, "lake", f"`darkroom log {options.work}`") from error
    return 0


def _archive(ctx: Context, months: OldMonths, options: argparse.Namespace) -> None:
    from handlers.log_archive.archiver import Archiver

    report = Archiver(ctx, months).run(options.dry_run)
    if options.json:
        print(report.model_dump_json())
        return
    for name, value in report.model_dump().items():
        print(f"{name:10} {', '.join(value) if isinstance(value, list) else value}")


def _query(ctx: Context, months: OldMonths, options: argparse.Namespace) -> None:
    from handlers.log_archive.query import Answer, Bounds, query

    bounds = Bounds(options.limit, options.timeout, options.since, options.until)
    answer: Answer = query(ctx, months, options.sql, bounds)
    if options.json:
        for row in answer.rows:
            print(json.dumps(dict(zip(answer.names, row, strict=True)), default=str))
    elif options.csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(answer.names)
        writer.writerows(answer.rows)
    else:
        _print(answer.names, answer.rows)
    if answer.more:
        detail = f"there are more than {options.limit} rows; ask for more by --limit"
        print(f"darkroom: {detail}", file=sys.stderr)


def _print(names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    width = None if sys.stdout.isatty() else 160
    table = Table(box=SIMPLE, pad_edge=False)
    for name in names:
        table.add_column(_shown(name), overflow="fold")
    for row in rows:
        table.add_row(*map(_shown, row))
    Console(width=width, highlight=False, markup=False).print(table)


def _shown(value: object) -> str:
    """A value without characters that a terminal obeys."""
    return "" if value is None else _CONTROLS.sub("\ufffd", str(value))


def _month(text: str) -> str:
    if text and not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text):
        raise SettingsError(f"{text!r} is no month such as 2026-01")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m handlers log")
    works = parser.add_subparsers(dest="work", required=True)
    archive = works.add_parser("archive")
    archive.add_argument("--dry-run", action="store_true")
    query = works.add_parser("query")
    query.add_argument("--since", type=_month, default="")
    query.add_argument("--until", type=_month, default="")
    query.add_argument("--limit", type=int, default=1000)
    query.add_argument("--timeout", type=float, default=600.0)
    query.add_argument("--csv", action="store_true")
    query.add_argument("sql")
    for each in (archive, query):
        each.add_argument("--json", action="store_true")
    return parser
