"""Links by which viewers elsewhere, which have no key, show a task or a job by IIIF."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from handlers.http.api import ingests
from handlers.http.api.dependencies import Api, Reader
from handlers.http.api.responses import refusals
from handlers.http.api.services import Services
from handlers.http.api.tasks import record_of
from handlers.http.iiif.addresses import Addresses
from handlers.http.iiif.links import Kind, Link

router = APIRouter()

SHORTEST_S = 300
LONGEST_S = 86_400
HOUR_S = 3600

EXAMPLE: JsonDict = {"lasts_s": 3600}
LINK_EXAMPLE: JsonDict = {
    "url": "https://photos.example/iiif/t/AGr…/presentation/3/0b0e7f1c-2f54-5b0e-8f0a-6c1d2e3f4a5b/manifest.json",
    "expires_at": "2026-05-04T04:02:01Z",
}


class LinkRequest(BaseModel):
    """How long the link is good: from five minutes to a day. It cannot be taken back."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    lasts_s: int = Field(HOUR_S, ge=SHORTEST_S, le=LONGEST_S)


class ViewerLink(BaseModel):
    """`url`: of a manifest or a collection (IIIF Presentation API 3). Whoever has it may
    look, without a key.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [LINK_EXAMPLE]})

    url: str
    expires_at: datetime


@router.post(
    "/tasks/{task_id}/viewer-link", responses=refusals(400, 404, 408), tags=["tasks"]
)
def link_task(
    task_id: UUID,
    wanted: LinkRequest,
    request: Request,
    api: Api,
    principal: Reader,
) -> ViewerLink:
    """A link to the manifest of a task: the restored photo beside the original."""
    record_of(api, principal, task_id)
    link = _link(api, "task", task_id, wanted)
    addresses = _addresses(api, request, link)
    return ViewerLink(url=addresses.manifest(task_id), expires_at=link.expires_at)


@router.post(
    "/ingests/{job}/viewer-link", responses=refusals(400, 404, 408), tags=["ingests"]
)
def link_job(
    job: UUID,
    wanted: LinkRequest,
    request: Request,
    api: Api,
    principal: Reader,
) -> ViewerLink:
    """A link to the collection of a job: a manifest for each restored photo."""
    ingests.seen(api.ctx, principal, job)
    link = _link(api, "job", job, wanted)
    addresses = _addresses(api, request, link)
    return ViewerLink(url=addresses.collection(job), expires_at=link.expires_at)


def _link(api: Services, kind: Kind, ident: UUID, wanted: LinkRequest) -> Link:
    lasts = timedelta(seconds=wanted.lasts_s)
    return Link(kind, ident, api.ctx.clock.now().replace(microsecond=0) + lasts)


def _addresses(api: Services, request: Request, link: Link) -> Addresses:
    settings = api.ctx.settings
    token = link.token(settings.pepper.get_secret_value().encode())
    return Addresses.of(request, settings, token)
