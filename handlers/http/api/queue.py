"""`/v1/queue`: what a photo may expect before it is sent."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from handlers.http.api.dependencies import Api, needs
from handlers.http.api.responses import refusals
from shared import workflows

router = APIRouter(tags=["tasks"])

BUSY_S = 30.0
"""A wait from which on a hint is given."""
SIZES = ("model_size", "scale")
"""Parameters by which a photo becomes less work."""

EXAMPLE: JsonDict = {
    "waiting": 12,
    "in_work": 1,
    "expected_s": 84.0,
    "hint": "12 photos wait; scale=2 instead of 4 would be less work",
    "suggested": {"scale": 2},
}


class Queue(BaseModel):
    """What a photo that is sent now may expect."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    waiting: int = Field(description="Photos that wait, at most 10,000.")
    in_work: int
    expected_s: float | None = Field(
        None, description="Until it would be done [s]; null: unknown."
    )
    hint: str | None = None
    suggested: dict[str, float | int] = Field(
        default={}, description="Parameters of the hint."
    )


@router.get("/queue", responses=refusals(), dependencies=[needs("read")])
def show_queue(
    api: Api,
    workflow: Annotated[str | None, Query(max_length=80)] = None,
    width: Annotated[int | None, Query(ge=1, le=1 << 20)] = None,
    height: Annotated[int | None, Query(ge=1, le=1 << 20)] = None,
    scale: Annotated[float | None, Query(ge=1, le=16)] = None,
    model_size: Annotated[int | None, Query(ge=1, le=4096)] = None,
) -> Queue:
    """What a photo may expect before it is sent, and whether less would be done sooner
    while the device is busy.
    """
    name = workflow or api.ctx.settings.default_workflow
    preset = workflows.asked(name, {}, api.ctx.settings.usual_params)
    waiting, in_work = api.expectations.queue()
    pixels = (width or 0) * (height or 0)
    found = Queue(
        waiting=waiting,
        in_work=in_work,
        expected_s=api.expectations.seconds(waiting, in_work, name, pixels),
    )
    if api.expectations.wait_s(waiting, in_work) >= BUSY_S:
        asked = {"scale": scale, "model_size": model_size}
        given = {key: value for key, value in asked.items() if value is not None}
        suggest(found, name, preset.ref.params | given)
    return found


def suggest(found: Queue, workflow: str, params: dict[str, float | int]) -> None:
    """Name the next smaller usual size, where there is one."""
    parameters = workflows.find(workflow).workflow.parameters()
    for name in SIZES:
        parameter = parameters.get(name)
        usual = [value for value in _numbers(parameter) if value < params[name]]
        if usual:
            smaller = max(usual)
            found.suggested = {name: smaller}
            less = f"{name}={smaller:g} instead of {params[name]:g}"
            found.hint = f"{found.waiting} photos wait; {less} would be less work"
            return


def _numbers(parameter: workflows.Parameter | None) -> list[float | int]:
    examples = parameter.examples if parameter else None
    return [value for value in examples or [] if not isinstance(value, str)]
