"""The figures as tables, one for each question, and as CSV files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from handlers.audit_log.columns import Row
from handlers.audit_log.statistics import Outcomes, Statistics

LAST_COLUMNS = (
    "upload_time",
    "image_filename",
    "workflow_type",
    "status",
    "error_code",
    "width",
    "height",
    "duration_seconds",
    "task_id",
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a text that begins so for a formula."""


@dataclass(frozen=True)
class Cells:
    """One table: `name` of its CSV file, `title` for people, heads and rows."""

    name: str
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]


def tables(found: Statistics) -> list[Cells]:
    """Every table that has a row."""
    duplicates = found.duplicates
    total = "Uploads since " + f"{found.since:%Y-%m-%d %H:%M} UTC"
    made = [
        Cells("total", total, *_columns([found.total])),
        Cells("workflows", "Workflows", *_columns(found.workflows)),
        Cells("sizes", "Favourite sizes", *_columns(found.sizes)),
        Cells(
            "failures",
            "Failures by cause, size, concurrency and memory",
            *_columns(found.failures),
        ),
        Cells("seconds", "Seconds of restored photos", *_columns(found.seconds)),
        Cells("days", "By day", *_columns(found.days)),
        Cells("bursts", "Busiest minutes", *_columns(found.bursts)),
        Cells("duplicates", "Duplicates saved", *_columns([duplicates])),
        Cells("users", "By user", *_columns(found.users)),
        Cells("last", "Last uploads", LAST_COLUMNS, _last(found.last)),
    ]
    return [each for each in made if each.rows]


def cell(value: Any) -> str:
    """One value as people read it."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return str(value)


def write_csv(found: Statistics, folder: Path) -> None:
    """Write one CSV file a table into a folder, which is made where it is missing.

    Raises `OSError`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for each in tables(found):
        with (folder / f"{each.name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(each.head)
            writer.writerows([_plain(value) for value in row] for row in each.rows)


def _plain(value: Any) -> Any:
    """A value that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value


def _columns(rows: Sequence[BaseModel]) -> tuple[list[str], list[list[Any]]]:
    if not rows:
        return [], []
    head = list(type(rows[0]).model_fields)
    if isinstance(rows[0], Outcomes):
        # The name of a workflow comes first.
        head.sort(key=lambda name: name not in ("workflow", "share"))
        head.sort(key=lambda name: name != "workflow")
    return head, [[getattr(row, name) for name in head] for row in rows]


def _last(rows: Sequence[Row]) -> list[list[Any]]:
    return [[getattr(row, name) for name in LAST_COLUMNS] for row in rows]
