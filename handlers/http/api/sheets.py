"""A sheet: several previews of one part of a photo beside each other, in one picture."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from html import escape
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import Response

from handlers.http.api.dependencies import Api, Reader
from handlers.http.api.responses import refusals
from handlers.http.api.services import Services
from handlers.http.api.tasks import record_of
from handlers.http.auth.principal import Principal
from handlers.http.problems import Problem
from shared.errors import NotFound
from shared.uploads import keys
from shared.uploads.documents import Record

router = APIRouter(tags=["previews"])

MOST = 16
COLUMNS = 4
SIDE_PX = 320
CAPTION_PX = 44
GAP_PX = 16
MEDIA_TYPE = "image/svg+xml"
POLICY = "default-src 'none'; img-src data:; frame-ancestors 'none'"
"""For whoever opens the sheet by itself: its pictures are in it."""
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The sheet, an SVG with the pictures in it.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    },
}

TaskIds = Annotated[
    list[UUID],
    Query(min_length=1, max_length=MOST, description="Of previews, in their order."),
]


@router.get(
    "/previews/sheet",
    responses=refusals(404, 409) | RESPONSES,
    response_class=Response,
)
def show_sheet(task_id: TaskIds, api: Api, principal: Reader) -> Response:
    """Previews beside each other, each with its parameters and signature. 409 until all
    of them are done.
    """
    records = [_done(api, principal, each) for each in task_id]
    sheet = "".join(_lines(api, records))
    headers = {"Content-Security-Policy": POLICY}
    return Response(sheet, media_type=MEDIA_TYPE, headers=headers)


def address(task_ids: list[UUID]) -> str:
    """The path of a sheet of these previews."""
    query = "&".join(f"task_id={each}" for each in task_ids)
    return f"/v1/previews/sheet?{query}"


def _done(api: Services, principal: Principal, task_id: UUID) -> Record:
    """Raises `Problem` 404, and 409 while it is under way."""
    if api.ctx.uploads.readable_record(str(task_id)) is None:
        api.ownership.one(principal, task_id)
        detail = (
            f"preview {task_id} is not done; GET /v1/tasks/{task_id} says how it is"
        )
        raise Problem(409, detail, "too_early")
    return record_of(api, principal, task_id)


def _lines(api: Services, records: list[Record]) -> Iterator[str]:
    columns = min(COLUMNS, len(records))
    rows = -(-len(records) // columns)
    width = columns * (SIDE_PX + GAP_PX) + GAP_PX
    height = rows * (SIDE_PX + CAPTION_PX + GAP_PX) + GAP_PX
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    yield f'<rect width="{width}" height="{height}" fill="#222"/>'
    named = _differing(records)
    for place, record in enumerate(records):
        row, column = divmod(place, columns)
        x = GAP_PX + column * (SIDE_PX + GAP_PX)
        y = GAP_PX + row * (SIDE_PX + CAPTION_PX + GAP_PX)
        yield _cell(api, record, named, x, y)
    yield "</svg>"


def _cell(
    api: Services,
    record: Record,
    named: list[str],
    x: int,
    y: int,
) -> str:
    params = record.workflow.params
    said = ", ".join(f"{name} {params[name]}" for name in named if name in params)
    caption = escape(said or record.workflow.name)
    text = f'x="{x}" fill="#eee" font-family="sans-serif"'
    below = y + SIDE_PX
    return (
        f'<image x="{x}" y="{y}" width="{SIDE_PX}" height="{SIDE_PX}" href="{_picture(api, record)}"/>'
        f'<text {text} y="{below + 18}" font-size="14">{caption}</text>'
        f'<text {text} y="{below + 36}" font-size="12" opacity="0.7">{record.workflow.signature}</text>'
    )


def _picture(api: Services, record: Record) -> str:
    """The small preview, of at most 512 px, as a data URL."""
    bucket = api.ctx.settings.bucket_results
    try:
        data = api.ctx.store.read(bucket, keys.preview(record.task_id))
    except NotFound:
        detail = f"preview {record.task_id} has expired; ask for it again"
        raise Problem(404, detail, "not_found") from None
    return f"data:image/webp;base64,{b64encode(data).decode()}"


def _differing(records: list[Record]) -> list[str]:
    """The parameters that are not the same in all of them."""
    names = sorted({name for record in records for name in record.workflow.params})
    return [
        name
        for name in names
        if len({str(record.workflow.params.get(name)) for record in records}) > 1
    ]
