"""`/v1/dead`: dead letters, for the operator: messages that could not be used."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from handlers.context import Context
from handlers.http.api.dependencies import Api, operator
from handlers.http.api.responses import refusals
from handlers.http.problems import Problem
from shared.broker import dead_letters
from shared.broker.dead_letter import DeadLetter
from shared.broker.topology import RESTORE
from shared.errors import MessageError
from shared.uploads.messages import RestoreTask
from shared.uploads.retry_failed import reopen

router = APIRouter(prefix="/dead", tags=["operation"], dependencies=[Depends(operator)])

MOST = 200


class Letter(BaseModel):
    """One dead letter. Equal messages share an `id`. `at`: when it died, in ISO 8601, or
    empty. `upload_id` and `task_id` are those of a photo, where it was about one.
    """

    id: str
    queue: str
    code: str
    detail: str
    at: str
    upload_id: str | None = None
    task_id: str | None = None


class Letters(BaseModel):
    """Dead letters, the oldest of each queue first."""

    items: list[Letter]


class RetryRequest(BaseModel):
    """Which letters go back to their queues."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"ids": ["0123456789ab"]}]}
    )

    ids: list[Annotated[str, Field(pattern="^[0-9a-f]{12}$")]] = Field(
        min_length=1, max_length=MOST
    )


class Retried(BaseModel):
    """How many letters went back to their queues."""

    retried: int


@router.get("", responses=refusals())
def show_dead(
    api: Api,
    limit: Annotated[
        int, Query(ge=1, le=MOST, description="Of each queue, the oldest.")
    ] = 50,
) -> Letters:
    """Dead letters with their reasons: the operator's. `darkroom dead show` has their
    bytes, and `darkroom dead drop` throws them away.
    """
    found = dead_letters.letters(api.ctx.settings, limit=limit)
    return Letters(items=[_letter(each) for each in found])


@router.post("/retry", responses=refusals(400, 404, 408, 413))
def retry(wanted: RetryRequest, api: Api) -> Retried:
    """Put dead letters back where they came from; a photo that had failed gets a fresh
    start.
    """
    ctx = api.ctx
    ids = frozenset(wanted.ids)
    retried = dead_letters.retry(
        ctx.settings, ids, prepare=lambda each: _open(ctx, each)
    )
    if not retried:
        named = ", ".join(sorted(ids))
        detail = f"no dead letter has the id {named}; GET /v1/dead lists them"
        raise Problem(404, detail, "not_found")
    return Retried(retried=retried)


def _letter(letter: DeadLetter) -> Letter:
    task = _task(letter)
    return Letter(
        id=letter.id,
        queue=letter.queue,
        code=letter.code,
        detail=letter.detail,
        at=letter.at,
        upload_id=task.upload_id if task else None,
        task_id=task.task_id if task else None,
    )


def _open(ctx: Context, letter: DeadLetter) -> None:
    """Take back the end of the photo that a letter is about, if it is about one."""
    task = _task(letter)
    if task is not None:
        reopen(task, ctx.store, ctx.publisher, ctx.settings, ctx.clock.now())


def _task(letter: DeadLetter) -> RestoreTask | None:
    """The task of a letter from a queue of tasks, if it can be read."""
    if letter.queue in RESTORE:
        with suppress(MessageError):
            return RestoreTask.decode(letter.body)
    return None
