"""`/v1/tasks/{task_id}/tiles`: a picture in tiles of every scale, to look at closely."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict
from starlette.responses import Response

from handlers.http.api.dependencies import Api, Reader
from handlers.http.api.links import LINK_S
from handlers.http.api.responses import refusals
from shared.uploads.keys import Picture

router = APIRouter(tags=["tasks"])

EXAMPLE: JsonDict = {
    "status": "done",
    "url": "https://store.example/results/tiles/0b0e7f1c-2f54-5b0e-8f0a-6c1d2e3f4a5b.zip?…",
    "bytes": 22000000,
    "width": 20000,
    "height": 20000,
}
Of = Annotated[Picture, Query(description="Which of the two pictures of the task.")]
WAITS: dict[int | str, dict[str, Any]] = {
    202: {"description": "A worker is making them; ask again in a second."}
}


class Tiles(BaseModel):
    """`url`: a link, good for five minutes, to a stored ZIP whose entries are named by
    the IIIF Image API (level 0): read the ones you need by `Range`. `width` and
    `height`: of the picture [px].
    """

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    status: Literal["queued", "done"]
    url: str | None = None
    bytes: int | None = None
    width: int | None = None
    height: int | None = None


@router.post("/tasks/{task_id}/tiles", responses=refusals(404, 409) | WAITS)
def show_tiles(
    task_id: UUID,
    response: Response,
    api: Api,
    principal: Reader,
    of: Of = "result",
) -> Tiles:
    """The result, or the original, in tiles: have them made, or fetch them."""
    found = api.pyramids.wanted(principal, task_id, of)
    if found is None:
        response.status_code = 202
        return Tiles(status="queued")
    info = found.info
    url = api.presigner.get(info.bucket, info.key, LINK_S, api.ctx.clock.now())
    return Tiles(
        status="done",
        url=url,
        bytes=info.bytes,
        width=found.width,
        height=found.height,
    )
