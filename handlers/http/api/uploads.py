"""`/v1/uploads`: a ticket with signed requests, by which an app sends a photo to the
store itself, and what became of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query

from handlers import erasure
from handlers.context import Context
from handlers.http.api import cancel_and_erase, ingests, state, tickets
from handlers.http.api.dependencies import Api, CountUpload, Reader, Remover, Uploader
from handlers.http.api.responses import Ended, refusals
from handlers.http.api.services import Services
from handlers.http.api.signed_requests import allowed_to, metadata_of, sign
from handlers.http.api.upload_shapes import Erased, Ticket, UploadRequest, UploadState
from handlers.http.auth.principal import Principal
from handlers.http.problems import Problem
from handlers.intake import masks
from shared import workflows
from shared.errors import NotFound
from shared.s3.presign import Upload
from shared.s3.store import ObjectInfo
from shared.uploads import keys
from shared.uploads.documents import Receipt, Refused
from shared.uploads.ref import upload_id_of
from shared.workflows import ResolvedWorkflow, composition

router = APIRouter(tags=["uploads"])

User = Annotated[
    str | None, Query(max_length=64, description="Whose: the operator's to say.")
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description=(
            "The same key and body: the same ticket, fresh URLs, and what was sent of "
            "its parts. Another body: 409."
        ),
    ),
]


@router.post("/uploads", status_code=201, responses=refusals(400, 404, 408, 409, 413))
async def issue(
    request: UploadRequest,
    count: CountUpload,
    api: Api,
    principal: Uploader,
    idempotency_key: IdempotencyKey = None,
) -> Ticket:
    """A ticket for one upload, and the signed requests that bring it to the store."""
    ctx = api.ctx
    settings = ctx.settings
    asked = request
    if request.ingest:
        job = await run_sync(ingests.own, ctx, principal, request.ingest)
        request = request.filled(job)
    if request.steps:
        request = await run_sync(_composed, ctx, principal, request)
    workflow = await run_sync(
        workflows.asked,
        request.workflow or settings.default_workflow,
        request.params,
        settings.usual_params,
    )
    # Refused at once; the mask that counts is the one at the time of the upload.
    await run_sync(masks.fixed, ctx, workflow, principal.user_hash)
    allowed = allowed_to(principal, settings, request.ingest is not None)
    metadata = metadata_of(request, workflow.ref.name, principal, settings)
    await _check_offered(ctx, workflow)
    await run_sync(count, request.bytes or allowed.max_upload_bytes)
    now = ctx.clock.now().replace(microsecond=0)
    expires_at = now + timedelta(seconds=int(settings.upload_expires_s))
    ticket = await _ticket(ctx, principal, asked, idempotency_key, expires_at)
    upload = Upload(
        settings.bucket_uploads,
        keys.upload(principal.user_hash, str(ticket)),
        request.content_type,
        metadata,
        request.bytes,
    )
    offered = await api.safe_forms.safe()
    begun = None
    if idempotency_key:
        begun = await run_sync(tickets.begun, ctx, ticket)
    signed = await sign(upload, ticket, now, allowed, api.presigner, offered, begun)
    parts = signed.multipart
    if idempotency_key and parts and parts.upload_id != begun:
        await run_sync(tickets.note_begun, ctx, ticket, parts.upload_id)
    return signed


@router.get(
    "/uploads/{ticket}",
    responses=refusals(404),
    response_model_exclude_none=True,
)
def shown(
    ticket: UUID,
    api: Api,
    principal: Reader,
    user: User = None,
) -> UploadState:
    """What became of an upload."""
    ctx = api.ctx
    user_hash, expires_at = tickets.owner(ctx, principal, ticket, user)
    upload_id = _upload_id(ctx, user_hash, ticket)
    if upload_id is None:
        if ctx.clock.now() > expires_at:
            return UploadState(ticket=ticket, status="expired")
        return UploadState(ticket=ticket, status="waiting")
    found = _state(ctx, ticket, upload_id)
    api.ownership.hint(str(found.task_id), upload_id)
    return found


@router.delete(
    "/uploads/{ticket}",
    responses=refusals(404, 409),
    response_model_exclude_none=True,
)
def erase(
    ticket: UUID,
    api: Api,
    principal: Remover,
    user: User = None,
) -> Erased:
    """Take an upload away, whatever became of it, with everything that was made of it."""
    ctx = api.ctx
    user_hash, _ = tickets.owner(ctx, principal, ticket, user)
    versions = _versions(ctx, user_hash, ticket)
    refused = list(_refused(ctx, user_hash, ticket))
    newest = _newest(ctx, versions, refused)
    for info in versions:
        _erase_version(api, principal, info)
        if len(versions) > 1:
            ctx.store.delete(info.bucket, info.key, info.version)
    for receipt in refused:
        cancel_and_erase.erase_rejected(ctx, receipt, None)
        link = keys.refused(str(ticket), receipt.upload_id)
        # Last, as it leads to the others.
        ctx.store.delete(ctx.settings.bucket_results, link)
    task_id = UUID(newest.task_id) if newest.task_id else None
    return Erased(ticket=ticket, task_id=task_id)


def find(
    ctx: Context,
    user_hash: str,
    ticket: UUID,
) -> ObjectInfo | None:
    """The object that was uploaded for a ticket; None if there is none."""
    prefix = keys.uploads(user_hash, str(ticket))
    for info in ctx.store.list(ctx.settings.bucket_uploads, prefix):
        with suppress(NotFound):
            return ctx.store.head(info.bucket, info.key)
    return None


async def _check_offered(
    ctx: Context,
    workflow: ResolvedWorkflow,
) -> None:
    """Raises `PermanentError` where no worker can run the workflow."""
    if not ctx.offers.is_fresh:
        await run_sync(ctx.offers.refresh)
    ctx.offers.check(workflow)


def _composed(
    ctx: Context, principal: Principal, request: UploadRequest
) -> UploadRequest:
    """The request with the steps that it names as a workflow.

    Raises `Problem` 403, and `PermanentError` for steps that are beyond the limits.
    """
    if not principal.may("admin"):
        detail = "this key may not compose workflows: it lacks the scope 'admin'; name a workflow of GET /v1/workflows"
        raise Problem(403, detail, "forbidden")
    name, data = composition.composed(request.steps or [])
    composition.keep(name, data, ctx.store, ctx.settings.bucket_results)
    return request.model_copy(update={"workflow": name})


async def _ticket(
    ctx: Context,
    principal: Principal,
    request: UploadRequest,
    idempotency_key: str | None,
    expires_at: datetime,
) -> UUID:
    user_hash = principal.user_hash
    if idempotency_key is None:
        pepper = ctx.settings.pepper.get_secret_value().encode()
        return tickets.draw(pepper, user_hash, expires_at)
    return await run_sync(
        tickets.derive,
        ctx,
        user_hash,
        idempotency_key,
        request.as_asked(),
        expires_at,
    )


def _upload_id(
    ctx: Context,
    user_hash: str,
    ticket: UUID,
) -> str | None:
    """The id of the upload for a ticket, also of one that was refused and deleted."""
    info = find(ctx, user_hash, ticket)
    if info:
        return upload_id_of(info)
    for receipt in _refused(ctx, user_hash, ticket):
        return receipt.upload_id
    return None


def _refused(
    ctx: Context,
    user_hash: str,
    ticket: UUID,
) -> Iterator[Receipt]:
    """The receipts of uploads for a ticket that were refused and deleted; the latest
    first.
    """
    prefix = keys.refused(str(ticket))
    links = list(ctx.store.list(ctx.settings.bucket_results, prefix))
    links.sort(key=lambda info: info.last_modified, reverse=True)
    for info in links:
        with suppress(NotFound):
            data = ctx.store.read(info.bucket, info.key)
            refused = Refused.from_bytes(data, info.key)
            receipt = ctx.uploads.receipt(refused.upload_id)
            if receipt.user_hash == user_hash:
                yield receipt


def _versions(
    ctx: Context,
    user_hash: str,
    ticket: UUID,
) -> list[ObjectInfo]:
    """All versions of the object that was uploaded for a ticket, the newest first."""
    prefix = keys.uploads(user_hash, str(ticket))
    versions = ctx.store.every_version(ctx.settings.bucket_uploads, prefix)
    return [info for info in versions if not info.is_marker]


def _newest(
    ctx: Context,
    versions: list[ObjectInfo],
    refused: list[Receipt],
) -> Receipt:
    """Raises `Problem` 409 where there is nothing, or no decision yet."""
    if not versions and not refused:
        detail = "nothing was uploaded for this ticket, or it is gone already"
        raise Problem(409, detail, "nothing_there")
    if not versions:
        return refused[0]
    return state.receipt_of(ctx, versions[0])


def _erase_version(
    api: Services,
    principal: Principal,
    info: ObjectInfo,
) -> None:
    ctx = api.ctx
    try:
        receipt = ctx.uploads.receipt(upload_id_of(info))
        if receipt.decision == "held":
            erasure.erase_held(ctx, receipt)
            return
        if receipt.task_id is None:
            cancel_and_erase.erase_rejected(ctx, receipt, info)
            return
        api.ownership.hint(receipt.task_id, receipt.upload_id)
        uploads = api.ownership.every(principal, UUID(receipt.task_id))
        cancel_and_erase.erase(ctx, receipt.task_id, uploads)
    except NotFound:
        # One that was overwritten before any decision has nothing but its bytes.
        return


def _started_last(ctx: Context, upload_id: str) -> Receipt | None:
    for run in reversed(ctx.uploads.runs(upload_id)):
        receipt = ctx.uploads.readable_receipt(run.upload_id)
        if receipt:
            return receipt
    return None


def _state(
    ctx: Context,
    ticket: UUID,
    upload_id: str,
) -> UploadState:
    try:
        receipt = ctx.uploads.receipt(upload_id)
    except NotFound:  # it is there, and its notification is on its way
        return UploadState(ticket=ticket, status="queued")
    if receipt.decision == "held" and not ctx.uploads.is_erased(receipt):
        started = _started_last(ctx, upload_id)
        if started is None:
            return UploadState(ticket=ticket, status="held")
        receipt = started
    found = state.of_receipt(ctx, receipt)
    error = None
    if found.fault:
        error = Ended(code=found.fault.error_code, detail=found.fault.error_detail)
    return UploadState(
        ticket=ticket,
        status=found.status,
        task_id=UUID(receipt.task_id) if receipt.task_id else None,
        error=error,
    )
