"""`POST /v1/tasks`: work on a photo that lies in the bucket, the first time or again, and
`POST /v1/tasks/{task_id}/retry`.

A start makes a *run*: an upload of its own for receipt, audit log, sweep and worker,
whose bytes are those of the photo. Its id is derived, so that the same start comes to
the same run. What leads from the photo to the run is written first, for whoever erases
the photo; then the receipt, then the message, as for any upload.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from handlers.context import Context
from handlers.http.api import ingests, photos, state
from handlers.http.api.dependencies import Api, CountUpload, Uploader
from handlers.http.api.photos import Origin
from handlers.http.api.responses import Work, refusals
from handlers.http.api.services import Services
from handlers.http.api.signed_requests import callback_of
from handlers.http.auth.principal import Principal
from handlers.http.problems import Problem
from handlers.intake import masks
from handlers.intake.examine import is_restored
from handlers.intake.original import is_there
from handlers.intake.probe import check_pixels
from handlers.intake.publish import publish, publish_task
from shared import workflows
from shared.broker.topology import Priority
from shared.runtime.failpoints import passing
from shared.uploads import formats, identity
from shared.uploads.documents import IngestRef, Receipt, Superseded
from shared.uploads.formats import Format
from shared.uploads.retry_failed import reopen
from shared.workflows import ResolvedWorkflow

router = APIRouter(tags=["tasks"])

MOST_RUNS = 100
"""Runs of one photo for one task that may end without a result."""

EXAMPLE: JsonDict = {
    "ticket": "6aa1b3f2-0c1d-8e4f-9a5b-2c3d4e5f6071",
    "workflow": "fast",
    "params": {"scale": 2},
}


class StartRequest(Origin):
    """The photo, by one of `ticket`, `task_id` and `key`, and what to make of it.

    What is left out is as at the upload, or the task, that is named; with a `workflow`
    but no `params`, the parameters are that workflow's defaults.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    workflow: str | None = Field(
        None,
        min_length=1,
        max_length=80,
        description="One of GET /v1/workflows.",
    )
    params: dict[str, Any] | None = None
    priority: Priority | None = None
    callback: str | None = Field(
        None,
        max_length=1024,
        description="URL that is called at the end.",
    )
    formats: list[Format] | None = Field(
        None, max_length=6, description="Copies beside the result."
    )
    ingest: IngestRef | None = Field(
        None,
        description="A job of POST /v1/ingests, and the photo's number in it; the wishes are those of the start.",
    )


@router.post("/tasks", status_code=202, responses=refusals(400, 404, 408, 409, 413))
def start_task(
    wanted: StartRequest,
    api: Api,
    count: CountUpload,
    principal: Uploader,
) -> Work:
    """Start work on an uploaded photo, the first time or again.

    What was made already, or is under way, is not made again.
    """
    return _work(api.ctx, start(wanted, api, count, principal))


def start(
    wanted: StartRequest,
    api: Services,
    count: Callable[[int], None],
    principal: Principal,
) -> Receipt:
    """The receipt of the upload or run that has the result, or is to have it."""
    ctx = api.ctx
    if wanted.ingest:
        ingests.own(ctx, principal, wanted.ingest)
    origin = photos.named(api, principal, wanted)
    photo = photos.photo_of(ctx, origin)
    workflow = _workflow(wanted, origin, api.ctx.settings.usual_params)
    workflow, mask = masks.fixed(ctx, workflow, photo.user_hash, origin.mask)
    _check(ctx, photo, workflow)
    run = _run(ctx, wanted, origin, photo, workflow, principal)
    run = run.model_copy(update={"mask": mask})
    earlier = _earlier(ctx, photo, run)
    if isinstance(earlier, Receipt):
        return earlier
    count(0)
    run = run.model_copy(update={"upload_id": earlier})
    started = _begin(ctx, photo, run)
    api.ownership.hint(started.task_id or "", started.upload_id)
    return started


@router.post(
    "/tasks/{task_id}/retry",
    status_code=202,
    responses=refusals(404, 409),
)
def retry_task(
    task_id: UUID,
    api: Api,
    count: CountUpload,
    principal: Uploader,
) -> Work:
    """Give a photo that failed a fresh start, with all attempts."""
    ctx = api.ctx
    failed = [
        receipt
        for receipt in api.ownership.every(principal, task_id)
        if _has_failed(ctx, receipt)
    ]
    if not failed:
        detail = f"the photo has not failed; GET /v1/tasks/{task_id} says how it is"
        raise Problem(409, detail, "not_failed")
    _check_same_workflow(ctx, failed[0])
    count(0)
    for receipt in failed:
        _retry(ctx, receipt)
    return _work(ctx, ctx.uploads.receipt(failed[0].upload_id))


def _workflow(
    wanted: StartRequest, origin: Receipt, usual: workflows.Usual
) -> ResolvedWorkflow:
    """Raises `PermanentError` for an unknown workflow or parameter."""
    asked = origin.workflow
    assert asked is not None
    if wanted.workflow:
        return workflows.asked(wanted.workflow, wanted.params, usual)
    if wanted.params is None:
        return workflows.resolve(asked.name, asked.params, asked.version)
    return workflows.resolve(
        asked.name, wanted.params, asked.version, usual.get(asked.name)
    )


def _check(ctx: Context, photo: Receipt, workflow: ResolvedWorkflow) -> None:
    """Raises `PermanentError` and `Problem` for what an upload would be refused for, or
    could not be done.
    """
    source = photo.source
    if source.width and source.height:
        # It was let in by its own limits; the result's are everybody's.
        widest = ctx.settings.widest()
        check_pixels(source.width, source.height, widest, workflow.scale)
    ctx.offers.check(workflow)
    _check_is_there(ctx, photo)
    _check_not_expired(ctx, photo)


def _check_is_there(ctx: Context, photo: Receipt) -> None:
    if not is_there(ctx, photo):
        detail = "the original is not there any more; upload it again"
        raise Problem(409, detail, "source_missing")


def _check_not_expired(ctx: Context, photo: Receipt) -> None:
    """The sweep erases a held photo a lease later, and no start may come between."""
    expires_s = ctx.settings.held_expires_s
    if photo.decision != "held" or not expires_s:
        return
    mark = ctx.uploads.hold_info(photo.upload_id)
    if mark is None or mark.age_s <= expires_s:
        return
    if not ctx.uploads.has_runs(photo.upload_id):
        detail = f"the photo was not started within {expires_s:g} s (DARKROOM_HELD_EXPIRES_S); upload it again"
        raise Problem(409, detail, "expired")


def _run(
    ctx: Context,
    wanted: StartRequest,
    origin: Receipt,
    photo: Receipt,
    workflow: ResolvedWorkflow,
    principal: Principal,
) -> Receipt:
    """The receipt of the run; its `upload_id` is still the photo's."""
    asked = origin.formats if wanted.formats is None else wanted.formats
    copies = formats.ordered(asked)
    task_id = identity.task_id(
        photo.user_hash,
        photo.source.sha256 or "",
        workflow.ref.signature,
        copies,
        photo.source.page,
        photo.source.captions,
    )
    callback = origin.callback
    if wanted.callback is not None or callback is None:
        # Of a job the end of all is told, not that of each.
        usual = None if wanted.ingest else principal.callback
        callback = callback_of(wanted.callback, usual, ctx.settings)
    now = ctx.clock.now()
    # Object times come in whole seconds, and this stands for one.
    started_at = now.replace(microsecond=0)
    return Receipt(
        upload_id=photo.upload_id,
        decision="queued",
        source=photo.source.model_copy(update={"upload_time": started_at}),
        user_hash=photo.user_hash,
        priority=wanted.priority or origin.priority,
        lane=photo.lane,
        decided_at=now,
        task_id=task_id,
        workflow=workflow.ref,
        callback=callback,
        formats=copies,
        ingest=wanted.ingest,
        run_of=photo.upload_id,
    )


def _earlier(ctx: Context, photo: Receipt, run: Receipt) -> Receipt | str:
    """The upload or run of the same task that has the result, or is to have it; else
    the id of the run that may begin. Raises `Problem` 409.
    """
    task_id = run.task_id or ""
    if photo.task_id == task_id and _counts(ctx, photo, run):
        return photo
    for number in range(MOST_RUNS):
        run_id = identity.run_id(photo.upload_id, task_id, number)
        earlier = ctx.uploads.readable_receipt(run_id)
        if earlier is None:
            return run_id
        if _counts(ctx, earlier, run):
            return earlier
    detail = f"this was started {MOST_RUNS} times without a result, or in jobs; upload it again, or change parameters"
    raise Problem(409, detail, "already_ended")


def _counts(ctx: Context, receipt: Receipt, run: Receipt) -> bool:
    """Whether the upload waits, or has a result; for a run of a job, one of that job: a
    result that was made elsewhere is a duplicate there.
    """
    if run.ingest and receipt.ingest != run.ingest:
        return False
    outcome = ctx.uploads.readable_outcome(receipt)
    return outcome is None or outcome.record is not None


def _begin(ctx: Context, photo: Receipt, run: Receipt) -> Receipt:
    """Write down and publish a run, and return its receipt. Raises `Problem` 409 where
    its owner erases the photo at the same moment.
    """
    if is_restored(run, ctx):
        run = run.model_copy(update={"decision": "duplicate"})
    ctx.uploads.write_run(run)
    # Only now: an erasure first ends the photo, and then looks for its runs.
    if ctx.uploads.is_erased(photo):
        ctx.uploads.delete_run(run)
        raise photos.gone()
    passing("handler.before_receipt")
    if ctx.uploads.write_new_receipt(run):
        publish(run, ctx)
        return run
    # Another request began it, or an erasure saw it coming.
    begun = ctx.uploads.receipt(run.upload_id)
    if ctx.uploads.is_erased(begun):
        ctx.uploads.delete_run(run)
        raise photos.gone()
    return begun


def _has_failed(ctx: Context, receipt: Receipt) -> bool:
    if receipt.preview or isinstance(receipt, Superseded):
        return False
    outcome = ctx.uploads.readable_outcome(receipt)
    return outcome is not None and outcome.status == "failed"


def _check_same_workflow(ctx: Context, receipt: Receipt) -> None:
    """Raises `Problem` 409, and `PermanentError` where no worker can do the task."""
    wanted = receipt.workflow
    assert wanted is not None
    workflow = workflows.resolve(wanted.name, wanted.params, wanted.version)
    if workflow.ref.signature != wanted.signature:
        detail = f"{wanted.name} has another version by now; POST /v1/tasks with this task_id runs that"
        raise Problem(409, detail, "already_ended")
    ctx.offers.check(workflow)


def _retry(ctx: Context, receipt: Receipt) -> None:
    """A crash after `reopen` leaves a photo that waits without a message, which the
    sweep finds.
    """
    task = receipt.restore_task
    if reopen(task, ctx.store, ctx.publisher, ctx.settings, ctx.clock.now()):
        publish_task(receipt, ctx)


def _work(ctx: Context, receipt: Receipt) -> Work:
    assert receipt.workflow is not None
    return Work(
        task_id=UUID(receipt.task_id),
        status=state.of_receipt(ctx, receipt).status,
        signature=receipt.workflow.signature,
    )
