"""What can be asked for (workflows), and what was (counts)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from handlers.audit_log.database import AuditLog, Filter
from handlers.context import Context
from handlers.http.api.responses import refusals
from handlers.http.auth.principal import Authenticate, Caller, needs
from shared import workflows
from shared.offers import Lack
from shared.uploads.messages import Status


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


class Count(BaseModel):
    """So many uploads of one day (UTC) agree in all of these."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "day": "2026-05-04",
                    "workflow_type": "fast",
                    "model_size": None,
                    "status": "success",
                    "error_code": None,
                    "uploads": 1204,
                },
            ]
        }
    )

    day: date
    workflow_type: str | None
    model_size: int | None
    status: Status
    error_code: str | None
    uploads: int


def build(ctx: Context, audit_log: AuditLog, who: Authenticate) -> APIRouter:
    router = APIRouter(tags=["catalogue"])
    reader = needs("read", who)

    @router.get("/workflows", responses=refusals(), dependencies=[reader])
    def offered() -> list[Offer]:
        """Every workflow, with the JSON Schema of its parameters, and whether there is
        a worker for it.
        """
        return [
            _offer(workflow, ctx.offers.lack(workflows.resolve(workflow.name)))
            for workflow in workflows.presets().values()
        ]

    @router.get("/stats", responses=refusals())
    def stats(
        days: Annotated[int, Query(ge=1, le=366)] = 30, caller: Caller = reader
    ) -> list[Count]:
        """Number of uploads by day, workflow, size, status and error: the caller's own,
        or the operator's: all.
        """
        where = Filter(
            since=datetime.now(UTC) - timedelta(days=days),
            user_id=None if caller.operator else caller.user_hash,
        )
        return [Count.model_validate(row) for row in audit_log.counts(where)]

    return router


def _offer(workflow: workflows.Workflow, lack: Lack | None) -> Offer:
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
