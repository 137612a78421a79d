"""The page about a job, to print or to keep: plain HTML, without a script or a style."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from itertools import islice

from handlers.audit_log.columns import Row
from handlers.audit_log.database import AuditLog
from handlers.audit_log.values import Filter
from handlers.http.api.ingest_results import ENDED_WITHOUT, rows
from shared.uploads.ingests import IngestJob
from shared.uploads.messages import Status

MOST_FAILED = 1000
"""Photos without a result that the page names; `/items` has them all."""


def page(
    job: IngestJob, counts: Mapping[Status, int], audit_log: AuditLog, where: Filter
) -> str:
    """The page about a job with these counts by status."""
    failed = islice(rows(audit_log, where, ENDED_WITHOUT), MOST_FAILED)
    return "".join(_pieces(job, counts, failed))


def _pieces(
    job: IngestJob, counts: Mapping[Status, int], failed: Iterable[Row]
) -> Iterator[str]:
    name = escape(job.name)
    yield f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title></head><body>\n'
    yield f"<h1>{name}</h1>\n"
    begun = f"{job.begun_at:%Y-%m-%d %H:%M} UTC"
    workflow = f"{job.workflow.name} {job.workflow.version}"
    yield f"<p>Begun {begun}. Workflow {escape(workflow)}, signature {escape(job.workflow.signature)}.</p>\n"
    yield from _table(
        ("status", "photos"),
        ((status, f"{number:,}") for status, number in sorted(counts.items())),
    )
    found = [
        (row.image_filename or "", row.error_code or "", row.error_detail or "")
        for row in failed
    ]
    if found:
        yield "<h2>Without a result</h2>\n"
        yield from _table(("photo", "code", "why"), found)
    if len(found) == MOST_FAILED:
        yield f"<p>These are {MOST_FAILED:,}; GET /v1/ingests/{escape(job.job)}/items has all.</p>\n"
    yield "</body></html>\n"


def _table(head: Iterable[str], lines: Iterable[Iterable[str]]) -> Iterator[str]:
    yield f"<table><thead>{_row('th', head)}</thead><tbody>\n"
    for cells in lines:
        yield _row("td", cells)
    yield "</tbody></table>\n"


def _row(tag: str, cells: Iterable[str]) -> str:
    inner = "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
    return f"<tr>{inner}</tr>\n"
