"""`/v1/ingests`: jobs of many photos. A job is begun, uploads name it, and its end is
told when everything was sent; then it is watched, and its results are taken, as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from starlette.responses import HTMLResponse, Response, StreamingResponse

from handlers.audit_log.columns import Row
from handlers.audit_log.values import Filter
from handlers.context import Context
from handlers.http.api import ingest_report, ingest_results, reports
from handlers.http.api.dependencies import Api, Reader, Uploader
from handlers.http.api.responses import refusals
from handlers.http.api.services import Services
from handlers.http.api.tasks import Page, cursor_of, position_of
from handlers.http.api.zip_stream import zipped
from handlers.http.auth.principal import Principal
from handlers.http.problems import Problem
from handlers.reports.job_sheet import MOST_ROWS, JobFacts, sheet_of
from handlers.reports.sheet import Sheet
from handlers.reports.task_report import console_url
from handlers.reports.words import words
from shared import workflows
from shared.broker.topology import Priority
from shared.callback_guard import check_url
from shared.errors import Code, NotFound, PermanentError
from shared.uploads import identity
from shared.uploads.documents import IngestRef
from shared.uploads.formats import Format, ordered
from shared.uploads.ingests import (
    IngestEnd,
    IngestItem,
    IngestJob,
    IngestStore,
    have_ended,
)
from shared.uploads.messages import Status

router = APIRouter(prefix="/ingests", tags=["ingests"])

REQUEST_EXAMPLE: JsonDict = {
    "name": "Grandma's album",
    "workflow": "fast",
    "params": {"scale": 2},
    "callback": None,
}
END_EXAMPLE: JsonDict = {"sent": 212}
ZIP = "application/zip"


class IngestRequest(BaseModel):
    """What is to be made of the photos of a job that say nothing else themselves."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [REQUEST_EXAMPLE]}
    )

    name: str = Field(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00]*$",
        description="The same name names the same job of a user.",
    )
    workflow: str | None = Field(None, min_length=1, max_length=80)
    params: dict[str, Any] = {}
    priority: Priority = "bulk"
    callback: str | None = Field(
        None,
        max_length=1024,
        description="URL that is called once all photos have ended; else the key's.",
    )
    formats: list[Format] | None = Field(None, max_length=6)


class Sent(BaseModel):
    """The end of the sending: how many photos of the job were sent."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [END_EXAMPLE]}
    )

    sent: int = Field(strict=True, ge=0, lt=1 << 31)


class Ingest(BaseModel):
    """A job as it was begun."""

    job: UUID
    name: str
    workflow: str
    params: dict[str, Any]
    priority: Priority
    begun_at: datetime

    @classmethod
    def of(cls, job: IngestJob) -> Ingest:
        return cls(
            job=UUID(job.job),
            name=job.name,
            workflow=job.workflow.name,
            params=job.workflow.params,
            priority=job.priority,
            begun_at=job.begun_at,
        )


class IngestPage(BaseModel):
    """`next` is the cursor of the following page; null on the last."""

    items: list[Ingest]
    next: str | None = None


class IngestState(Ingest):
    """How far a job is.

    `counts`: its uploads by status. `sent_at`: when the sending ended, of `sent` photos;
    `unsent` were refused by it, `skipped` files were no photos. `finished`: everything
    was sent, and has ended.
    """

    counts: dict[Status, int]
    sent_at: datetime | None
    sent: int
    unsent: int
    skipped: int
    finished: bool


class Unsent(BaseModel):
    """Photos that `darkroom ingest` refused to send; `next` is the following page."""

    items: list[IngestItem]
    next: int | None = None


class ItemQuery(BaseModel):
    """Which uploads of a job a page shows."""

    model_config = ConfigDict(extra="forbid")

    status: Status | None = None
    limit: int = Field(50, ge=1, le=1000)
    cursor: str | None = Field(None, max_length=300)


@router.post("", status_code=201, responses=refusals(400, 408, 409, 413))
def begin(request: IngestRequest, api: Api, principal: Uploader) -> Ingest:
    """Begin a job. The same request again gives the same job; another one of the same
    name is refused.
    """
    job = _job(request, api.ctx, principal)
    begun = _store(api.ctx).begin(job)
    if begun != job.model_copy(update={"begun_at": begun.begun_at}):
        detail = (
            f"you have a job {request.name!r} with other wishes; choose another name"
        )
        raise Problem(409, detail, "idempotency_conflict")
    return Ingest.of(begun)


@router.get("", responses=refusals())
def listed(
    api: Api,
    principal: Reader,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str, Query(max_length=60)] = "",
) -> IngestPage:
    """The caller's jobs, the latest first; the operator's: everybody's."""
    user_hash = "" if principal.operator else principal.user_hash
    # One more than the page has, to know whether another page follows.
    found = _store(api.ctx).latest(user_hash, cursor, limit + 1)
    items = [Ingest.of(job) for _, job in found[:limit]]
    is_last = len(found) <= limit
    return IngestPage(items=items, next=None if is_last else found[limit - 1][0])


@router.get("/{job}", responses=refusals(404))
def shown(job: UUID, api: Api, principal: Reader) -> IngestState:
    """How far a job is, by the audit log."""
    return _state(api, seen(api.ctx, principal, job))


@router.post("/{job}/end", responses=refusals(400, 404, 408, 413))
def end(job: UUID, sent: Sent, api: Api, principal: Uploader) -> IngestState:
    """Say that all photos of the job were sent, and how many: what is told when they have
    ended waits for it. May be repeated, with more as well.
    """
    ctx = api.ctx
    found = seen(ctx, principal, job)
    told = IngestEnd(
        job=found.job, sent=sent.sent, failed=0, skipped=0, at=ctx.clock.now()
    )
    _store(ctx).finish(found, told)
    return _state(api, found)


@router.get("/{job}/items", responses=refusals(404))
def items(
    job: UUID, query: Annotated[ItemQuery, Query()], api: Api, principal: Reader
) -> Page:
    """The uploads of a job, the latest first."""
    where = Filter(
        user_id=seen(api.ctx, principal, job).user_hash,
        ingest=str(job),
        status=query.status,
        after=position_of(query.cursor) if query.cursor else None,
    )
    rows = api.audit_log.page(where, query.limit + 1)
    shown = rows[: query.limit]
    is_last = len(rows) <= query.limit
    return Page(items=shown, next=None if is_last else cursor_of(shown[-1]))


@router.get(
    "/{job}/unsent",
    responses=refusals(404),
    response_model_exclude_none=True,
)
def unsent(
    job: UUID,
    api: Api,
    principal: Reader,
    page: Annotated[int, Query(ge=1, lt=1 << 31)] = 1,
) -> Unsent:
    """The photos of a job that `darkroom ingest` did not send, and why; a page of a
    thousand of the job's items may hold none of them.
    """
    found = seen(api.ctx, principal, job)
    every = _store(api.ctx).page(found.job, page)
    refused = [item for item in every if item.upload_id is None]
    return Unsent(items=refused, next=page + 1 if every else None)


@router.get(
    "/{job}/results",
    response_class=StreamingResponse,
    responses=refusals(404) | {200: {"content": {ZIP: {}}}},
)
def results(job: UUID, api: Api, principal: Reader) -> StreamingResponse:
    """A ZIP file of the results that are there by now, written while it is sent. Photos
    without a result stand in its `failed.csv`.
    """
    found = seen(api.ctx, principal, job)
    name = quote(f"{found.name}.zip", safe="")
    return StreamingResponse(
        zipped(ingest_results.files(api, uploads_of(found))),
        media_type=ZIP,
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"},
    )


@router.get(
    "/{job}/report",
    response_class=HTMLResponse,
    responses=refusals(404),
)
def report(job: UUID, api: Api, principal: Reader) -> HTMLResponse:
    """A page about a job, to print or to keep: its counts, and what failed and why."""
    found = seen(api.ctx, principal, job)
    state = _state(api, found)
    return HTMLResponse(
        ingest_report.page(found, state.counts, api.audit_log, uploads_of(found))
    )


@router.get(
    "/{job}/report.pdf",
    response_class=Response,
    responses=refusals(404, 409) | reports.PDF_RESPONSES,
)
def report_pdf(
    job: UUID, api: Api, principal: Reader, lang: reports.Lang = "en"
) -> Response:
    """The report about a job as PDF/A: its counts, small pictures, what failed and why,
    and the checksum of every original.
    """
    facts = _facts(api, seen(api.ctx, principal, job))
    sheet = sheet_of(facts, words(lang), api.ctx.clock.now())
    return reports.pdf_answer(sheet, lambda: dict(_pictures(api.ctx, sheet)))


def own(ctx: Context, principal: Principal, ref: IngestRef) -> IngestJob:
    """The job that an upload names. Raises `Problem` 404 where it is not the caller's,
    and `PermanentError(bad_parameter)` for more photos than a job may have.
    """
    most = ctx.settings.limit_ingest_photos
    if ref.item > most:
        detail = f"ingest.item={ref.item}: a job may have {most:,} photos (DARKROOM_LIMIT_INGEST_PHOTOS); begin another"
        raise PermanentError(Code.BAD_PARAMETER, detail)
    found = seen(ctx, principal, ref.job)
    if found.user_hash != principal.user_hash:
        raise _unknown(ref.job)
    return found


def _job(request: IngestRequest, ctx: Context, principal: Principal) -> IngestJob:
    settings = ctx.settings
    workflow = workflows.asked(
        request.workflow or settings.default_workflow,
        request.params,
        settings.usual_params,
    )
    callback = request.callback if request.callback is not None else principal.callback
    if callback:
        check_url(callback, settings)
    return IngestJob(
        job=identity.ingest_job_of(principal.user_hash, request.name),
        name=request.name,
        workflow=workflow.ref,
        priority=request.priority,
        begun_at=ctx.clock.now(),
        user_hash=principal.user_hash,
        callback=callback or None,
        formats=None if request.formats is None else ordered(request.formats),
    )


def _facts(api: Services, job: IngestJob) -> JobFacts:
    """All that the report says; of each table one row more than it shows."""
    state = _state(api, job)
    where = uploads_of(job)

    def rows(statuses: tuple[Status, ...]) -> list[Row]:
        found = ingest_results.rows(api.audit_log, where, statuses)
        return list(islice(found, MOST_ROWS + 1))

    return JobFacts(
        job=job,
        counts=state.counts,
        sent=state.sent,
        unsent=state.unsent,
        skipped=state.skipped,
        is_finished=state.finished,
        restored=rows(ingest_results.RESTORED),
        failed=rows(ingest_results.ENDED_WITHOUT),
        url=console_url(api.ctx.settings.api_url, f"report/job/{job.job}"),
    )


def _pictures(ctx: Context, sheet: Sheet) -> Iterator[tuple[str, bytes]]:
    """Of those photos whose small picture is there."""
    for picture in sheet.pictures:
        data = reports.preview_of(ctx, picture.name)
        if data:
            yield picture.name, data


def _store(ctx: Context) -> IngestStore:
    return IngestStore(ctx.store, ctx.settings.bucket_results)


def seen(ctx: Context, principal: Principal, job: UUID) -> IngestJob:
    """Raises `Problem` 404, also for a job of another user."""
    try:
        found = _store(ctx).job(str(job))
    except NotFound:
        raise _unknown(job) from None
    if not principal.sees(found.user_hash):
        raise _unknown(job)
    return found


def _unknown(job: UUID) -> Problem:
    return Problem(404, f"no job {job}", "not_found")


def uploads_of(job: IngestJob) -> Filter:
    """A job's uploads; only its owner's are: whoever sends one may name any job."""
    return Filter(user_id=job.user_hash, ingest=job.job)


def _state(api: Services, job: IngestJob) -> IngestState:
    counts = api.audit_log.by_status(uploads_of(job))
    ended = _store(api.ctx).end(job.job)
    return IngestState(
        **dict(Ingest.of(job)),
        counts=counts,
        sent_at=ended.at if ended else None,
        sent=ended.sent if ended else 0,
        unsent=ended.failed if ended else 0,
        skipped=ended.skipped if ended else 0,
        finished=ended is not None and have_ended(counts, ended.sent),
    )
