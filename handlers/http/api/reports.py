"""`/v1/tasks/{task_id}/report`: all about one task, as JSON and as PDF/A.

A report shows what its reader may see anyway, in the record and the rows of the task;
who may not have the result has no report.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any
from uuid import UUID

import segno
from fastapi import APIRouter, Query
from starlette.responses import Response

from handlers.audit_log.columns import Event, Row
from handlers.context import Context
from handlers.http.api import state
from handlers.http.api.dependencies import Api, Reader
from handlers.http.api.file_names import disposition, saved_name
from handlers.http.api.responses import refusals
from handlers.http.api.services import Services
from handlers.http.auth.principal import Principal
from handlers.http.problems import Problem
from handlers.intake.original import is_there
from handlers.reports import pdf
from handlers.reports.sheet import Sheet
from handlers.reports.task_report import (
    TaskReport,
    console_url,
    of_receipt,
    of_record,
)
from handlers.reports.task_sheet import AFTER, BEFORE, sheet_of
from handlers.reports.words import Language, words
from shared.errors import DarkroomError, DatabaseUnavailable, NotFound, SettingsError
from shared.uploads import keys

router = APIRouter(tags=["tasks"])

MEDIA_TYPE = "application/pdf"
MOST_ORIGINAL_BYTES = 32 << 20
"""Of larger originals, the report shows no picture: this process would hold them."""
SHOWN_FORMATS = frozenset({"JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"})
PDF_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A file, PDF/A-2a.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    },
}

Lang = Annotated[Language, Query(description="Of the words: English or Chinese.")]


@router.get("/tasks/{task_id}/report", responses=refusals(404))
def report(
    task_id: UUID,
    api: Api,
    principal: Reader,
) -> TaskReport:
    """All about one task: the photo, what was looked at and done, by which networks,
    when, and what came of it; or why nothing did.
    """
    return _report(api, principal, task_id)


@router.get(
    "/tasks/{task_id}/report.pdf",
    response_class=Response,
    responses=refusals(404, 409) | PDF_RESPONSES,
)
def report_pdf(
    task_id: UUID,
    api: Api,
    principal: Reader,
    lang: Lang = "en",
) -> Response:
    """The report as PDF/A, with small pictures, to keep beside the photo or to print."""
    found = _report(api, principal, task_id)
    sheet = sheet_of(found, words(lang))
    return pdf_answer(sheet, lambda: dict(_pictures(api, principal, found)))


def pdf_answer(sheet: Sheet, pictures: pdf.PicturesOf) -> Response:
    """The sheet as a file. Raises `Problem` 409 where this server cannot make one."""
    try:
        pdf.need_typst()
    except SettingsError as error:
        detail = f"{error.detail}; without it, there is the report as JSON or as a page"
        raise Problem(409, detail, "report_unavailable") from error
    made = pdf.render(sheet, _qr(sheet.url), pictures)
    name = saved_name(sheet.title, "report", "pdf")
    headers = {"Content-Disposition": disposition(name, attachment=True)}
    return Response(made, media_type=MEDIA_TYPE, headers=headers)


def preview_of(ctx: Context, task_id: str) -> bytes | None:
    """The small picture of a result; None where there is none."""
    with suppress(NotFound):
        return ctx.store.read(ctx.settings.bucket_results, keys.preview(task_id))
    return None


def _report(api: Services, principal: Principal, task_id: UUID) -> TaskReport:
    """Raises `Problem` 404, also for a task of another user."""
    ctx = api.ctx
    rows, history = _logged(api, principal, task_id)
    now = ctx.clock.now()
    record = ctx.uploads.readable_record(str(task_id))
    if record is not None and principal.sees(record.user_hash):
        found = of_record(record, history, now)
    else:
        receipt = api.ownership.one(principal, task_id)
        status = state.of_receipt(ctx, receipt).status
        outcome = ctx.uploads.readable_outcome(receipt)
        found = of_receipt(receipt, status, outcome, history, now)
    url = console_url(ctx.settings.api_url, f"report/{task_id}")
    job = next((row.ingest_id for row in rows if row.ingest_id), None)
    return found.model_copy(update={"console_url": url, "job": job})


def _logged(
    api: Services, principal: Principal, task_id: UUID
) -> tuple[list[Row], list[Event]]:
    """What the audit log knows; nothing while it is away."""
    with suppress(DatabaseUnavailable):
        rows, history = api.audit_log.task(task_id)
        if all(principal.sees(row.user_id) for row in rows):
            return rows, history
    return [], []


def _pictures(
    api: Services, principal: Principal, found: TaskReport
) -> Iterator[tuple[str, bytes]]:
    # A report without a picture is better than none, whatever the picture lacks.
    with suppress(Problem, DarkroomError):
        before = _original(api, principal, found.task_id)
        if before:
            yield BEFORE, before
    after = preview_of(api.ctx, str(found.task_id)) if found.result else None
    if after:
        yield AFTER, after


def _original(api: Services, principal: Principal, task_id: UUID) -> bytes | None:
    """The photo as it was put, if it can be shown."""
    photo = api.ownership.one(principal, task_id)
    source = photo.source
    is_shown = source.format in SHOWN_FORMATS and source.bytes <= MOST_ORIGINAL_BYTES
    if not is_shown or not is_there(api.ctx, photo):
        return None
    return api.ctx.store.read(source.bucket, source.key, source.version)


def _qr(url: str) -> str:
    """An SVG that leads to `url`; "" without one."""
    if not url:
        return ""
    file = io.BytesIO()
    segno.make(url, micro=False).save(file, kind="svg", border=1)
    return file.getvalue().decode()
