"""What can be asked for (workflows), and what was (counts)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from handlers.logbook import Logbook
from shared import workflows


class Offer(BaseModel):
    """One workflow. `params_schema` is the JSON Schema of its parameters."""

    name: str
    version: int
    title: str
    description: str
    steps: list[str]
    models: list[str]
    params_schema: dict[str, Any]


def build(logbook: Logbook) -> APIRouter:
    router = APIRouter(tags=["catalogue"])

    @router.get("/workflows")
    def offered() -> list[Offer]:
        """Every workflow, with the JSON Schema of its parameters."""
        return [_offer(workflow) for workflow in workflows.presets().values()]

    @router.get("/stats")
    def stats(days: Annotated[int, Query(ge=1, le=366)] = 30) -> list[dict[str, Any]]:
        """Number of uploads by day, workflow, size, status and error."""
        return logbook.counts(datetime.now(UTC) - timedelta(days=days))

    return router


def _offer(workflow: workflows.Workflow) -> Offer:
    return Offer(
        name=workflow.name, version=workflow.version, title=workflow.title, description=workflow.description,
        steps=[step.step for step in workflow.steps], models=[step.model for step in workflow.steps if step.model],
        params_schema=workflow.params_schema(),
    )  # fmt: skip
