"""`/v1/workflows`: what can be asked for. `/v1/stats`: how much was."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from handlers.audit_log.values import Filter
from handlers.http.api.dependencies import Api, Reader, needs
from handlers.http.api.responses import refusals
from shared import workflows
from shared.offers import Lack
from shared.uploads.messages import Status

router = APIRouter(tags=["catalogue"])


class Offer(BaseModel):
    """One workflow. `params_schema` is the JSON Schema of its parameters."""

    name: str
    version: int
    title: str
    description: str
    steps: list[str]
    models: list[str]
    params_schema: dict[str, Any]
    available: bool = Field(
        description="Whether some worker can run it, with the models that are its defaults."
    )
    unavailable: Lack | None = Field(
        None, description="What the workers lack for it, and what makes it available."
    )


COUNT_EXAMPLE: JsonDict = {
    "day": "2026-05-04",
    "workflow_type": "fast",
    "model_size": None,
    "status": "success",
    "error_code": None,
    "uploads": 1204,
}


class Count(BaseModel):
    """The number of uploads of one day (UTC) that agree in all of these."""

    model_config = ConfigDict(json_schema_extra={"examples": [COUNT_EXAMPLE]})

    day: date
    workflow_type: str | None
    model_size: int | None
    status: Status
    error_code: str | None
    uploads: int


@router.get("/workflows", responses=refusals(), dependencies=[needs("read")])
def offered(api: Api) -> list[Offer]:
    """Every workflow, with the JSON Schema of its parameters, and whether there is a
    worker for it.
    """
    offers = []
    for workflow in workflows.presets().values():
        resolved = workflows.resolve(workflow.name)
        offers.append(_offer(workflow, api.ctx.offers.lack(resolved)))
    return offers


@router.get("/stats", responses=refusals())
def stats(
    api: Api,
    principal: Reader,
    days: Annotated[int, Query(ge=1, le=366)] = 30,
) -> list[Count]:
    """Number of uploads by day, workflow, size, status and error: the caller's own, or
    the operator's: all.
    """
    where = Filter(
        since=datetime.now(UTC) - timedelta(days=days),
        user_id=None if principal.operator else principal.user_hash,
    )
    return [Count.model_validate(row) for row in api.audit_log.counts(where)]


def _offer(
    workflow: workflows.Workflow,
    lack: Lack | None,
) -> Offer:
    return Offer(
        name=workflow.name,
        version=workflow.version,
        title=workflow.title,
        description=workflow.description,
        steps=[step.step for step in workflow.steps],
        models=[step.model for step in workflow.steps if step.model],
        params_schema=workflow.params_schema(),
        available=lack is None,
        unavailable=lack,
    )
