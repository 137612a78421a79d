"""`/v1/workflows`: what can be asked for. `/v1/stats`: how much was."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from handlers.audit_log.statistics import Statistics, statistics
from handlers.audit_log.values import Filter
from handlers.http.api.dependencies import Api, Reader, needs
from handlers.http.api.responses import refusals
from handlers.http.auth.principal import Principal
from shared import workflows
from shared.offers import Lack
from shared.uploads.messages import Status

router = APIRouter(tags=["catalogue"])
FIRST = "auto"
"""The workflow for people who do not know which."""
MOST_USERS = 1000
"""Most users in a summary; `darkroom stats` has them all."""

Days = Annotated[int, Query(ge=1, le=366, description="How far back to look.")]


class Offer(BaseModel):
    """One workflow. `params_schema` is the JSON Schema of its parameters."""

    name: str
    version: int
    title: str
    description: str
    titles: dict[str, str] = Field(description="By language: `en`, `zh`.")
    descriptions: dict[str, str] = Field(
        description="A sentence, by language: `en`, `zh`."
    )
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
    """Every workflow, with the JSON Schema of its parameters and usual values for them
    (`examples`), and whether there is a worker for it. `auto` comes first.
    """
    offered = [
        _offer(workflow, api.ctx.offers.lack(resolved))
        for workflow, resolved in workflows.offered(api.ctx.settings.usual_params)
    ]
    return sorted(offered, key=_place)


@router.get("/stats", responses=refusals())
def stats(
    api: Api,
    principal: Reader,
    days: Days = 30,
) -> list[Count]:
    """Number of uploads by day, workflow, size, status and error: the caller's own, or
    the operator's: all. `/v1/stats/summary` has shares, percentiles and causes.
    """
    where = Filter(since=_ago(days), user_id=_only(principal))
    return [Count.model_validate(row) for row in api.audit_log.counts(where)]


@router.get("/stats/summary", responses=refusals())
def stats_summary(
    api: Api,
    principal: Reader,
    days: Days = 30,
    user: Annotated[
        str | None,
        Query(
            pattern="^[0-9a-f]{64}$",
            description="The operator's: of this user alone, by its hash.",
        ),
    ] = None,
) -> Statistics:
    """Shares of workflows, favourite sizes, success rate, failures by cause and
    circumstances, seconds, duplicates, bursts, and the last ten uploads: the caller's
    own; the operator's: of all, and by user.
    """
    where = Filter(since=_ago(days), user_id=_only(principal) or user)
    most_users = MOST_USERS if principal.operator else 0
    return statistics(api.audit_log, where, most_users=most_users)


def _ago(days: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def _only(principal: Principal) -> str | None:
    """The user whose uploads are counted; None: all users'."""
    return None if principal.operator else principal.user_hash


def _offer(
    workflow: workflows.Workflow,
    lack: Lack | None,
) -> Offer:
    return Offer(
        name=workflow.name,
        version=workflow.version,
        title=workflow.title,
        description=workflow.description,
        titles={"en": workflow.title, "zh": workflow.zh.title},
        descriptions={"en": workflow.description, "zh": workflow.zh.description},
        steps=[step.step for step in workflow.steps],
        models=[step.model for step in workflow.steps if step.model],
        params_schema=workflow.params_schema(),
        available=lack is None,
        unavailable=lack,
    )


def _place(offer: Offer) -> tuple[bool, str]:
    return offer.name != FIRST, offer.name
