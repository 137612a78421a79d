"""Uploads for apps: a ticket with signed requests, which the app sends to the store
itself, and what became of it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import quote
from uuid import UUID

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, ConfigDict, Field

from handlers.context import Context
from handlers.http.api import cancel_and_erase, state, tickets
from handlers.http.api.dependencies import CountUpload, needs
from handlers.http.api.ownership import Belongings
from handlers.http.api.responses import Ended, refusals
from handlers.http.api.safe_forms import SafeForms
from handlers.http.auth.principal import Principal as Caller
from handlers.http.problems import Problem
from handlers.intake import upload_options
from shared import workflows
from shared.callback_guard import check_url
from shared.errors import Code, NotFound, PermanentError
from shared.runtime.settings import Settings
from shared.s3 import upload_forms
from shared.s3.presign import META, Multipart, Presigner, Upload
from shared.s3.store import ObjectInfo
from shared.uploads import keys
from shared.uploads.documents import Receipt, Refused
from shared.uploads.messages import Priority, Status
from shared.uploads.ref import upload_id_of

MAX_METADATA_BYTES = 2048
"""S3's own limit, of all names and values together."""


class Wanted(BaseModel):
    """What is to be uploaded, and what to be made of it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "filename": "grandma.jpg",
                    "content_type": "image/jpeg",
                    "workflow": "fast",
                    "params": {"scale": 2},
                    "priority": "interactive",
                    "bytes": 482113,
                },
            ]
        },
    )

    filename: str = Field(
        min_length=1, max_length=255, description="As the user knows it."
    )
    content_type: str = Field(
        pattern=r"^(image/[a-z0-9][a-z0-9.+-]{0,60}|application/octet-stream)$"
    )
    workflow: str | None = Field(
        None, min_length=1, max_length=80, description="One of GET /v1/workflows."
    )
    params: dict[str, Any] = Field(
        {},
        description="By the workflow's `params_schema`; what is left out is default.",
    )
    priority: Priority = "bulk"
    callback: str | None = Field(
        None,
        max_length=1024,
        description="URL that is told of the end; else the key's.",
    )
    bytes: int | None = Field(
        None,
        ge=1,
        description="Size of the file: then no other size is taken by PUT. Untold, it counts as the largest.",
    )


class Form(BaseModel):
    """A form (`multipart/form-data`): these fields first, then the file as `file`."""

    url: str
    fields: dict[str, str]


class Put(BaseModel):
    """PUT the file there with exactly these headers."""

    url: str
    headers: dict[str, str]


class Part(BaseModel):
    """`bytes`: exactly so many go into this part."""

    number: int
    bytes: int
    url: str


class Parts(BaseModel):
    """PUT each part; then POST the list of their ETags, as S3 has it, to `complete`, or
    DELETE `abort`.
    """

    upload_id: str
    parts: list[Part]
    complete: str
    abort: str


class Ticket(BaseModel):
    """Send the file by one of `post`, `put` and `multipart`, until `expires_at`.

    `put` is null where `darkroom bootstrap` found that the store does not check all
    that is sent with it.
    """

    ticket: UUID
    key: str
    post: Form
    put: Put | None
    multipart: Parts | None = None
    expires_at: datetime


class UploadState(BaseModel):
    """`waiting`: nothing was uploaded yet; `expired`: nor can it be any more. `task_id`
    is there once decided on.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "ticket": "6aa1b3f2-0c1d-8e4f-9a5b-2c3d4e5f6071",
                    "status": "success",
                    "task_id": "0b0e7f1c-2f54-5b0e-8f0a-6c1d2e3f4a5b",
                },
            ]
        }
    )

    ticket: UUID
    status: Status | Literal["waiting", "expired"]
    task_id: UUID | None = None
    error: Ended | None = None


class Erased(BaseModel):
    """An upload that its owner had erased. `task_id`: of the task that was erased with
    it.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "ticket": "6aa1b3f2-0c1d-8e4f-9a5b-2c3d4e5f6071",
                    "status": "failed",
                    "code": "erased",
                },
            ]
        }
    )

    ticket: UUID
    task_id: UUID | None = None
    status: Literal["failed"] = "failed"
    code: Literal["erased"] = "erased"


User = Annotated[
    str | None, Query(max_length=64, description="Whose: the operator's to say.")
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="The same key with the same body gives the same ticket, with fresh URLs; with another body 409.",
    ),
]


def build(ctx: Context, presigner: Presigner, belongings: Belongings) -> APIRouter:
    router, forms = APIRouter(tags=["uploads"]), SafeForms(ctx)
    uploader, reader, remover = needs("upload"), needs("read"), needs("delete")

    @router.post("/uploads", status_code=201, responses=refusals(400, 408, 409, 413))
    async def issue(
        wanted: Wanted,
        announce: CountUpload,
        idempotency_key: IdempotencyKey = None,
        caller: Caller = uploader,
    ) -> Ticket:
        """A ticket for one upload, and the signed requests that bring it to the store."""
        workflow = workflows.resolve(
            wanted.workflow or ctx.settings.default_workflow, wanted.params
        )
        metadata = _metadata(wanted, workflow.ref.name, caller, ctx.settings)
        if not ctx.offers.is_fresh:
            await run_sync(ctx.offers.refresh)
        ctx.offers.check(workflow)
        announce(wanted.bytes or ctx.settings.max_upload_bytes)
        now = ctx.clock.now().replace(microsecond=0)
        expires_at = now + timedelta(seconds=int(ctx.settings.upload_expires_s))
        if idempotency_key is None:
            ticket = tickets.draw(
                ctx.settings.pepper.get_secret_value().encode(),
                caller.user_hash,
                expires_at,
            )
        else:
            asked = wanted.model_dump()
            ticket = await run_sync(
                tickets.derive,
                ctx,
                caller.user_hash,
                idempotency_key,
                asked,
                expires_at,
            )
        key = keys.upload(caller.user_hash, str(ticket))
        upload = Upload(
            ctx.settings.bucket_uploads,
            key,
            wanted.content_type,
            metadata,
            wanted.bytes,
        )
        offered = await forms.safe()
        return await _signed(upload, ticket, now, ctx.settings, presigner, offered)

    @router.get(
        "/uploads/{ticket}", responses=refusals(404), response_model_exclude_none=True
    )
    def shown(ticket: UUID, user: User = None, caller: Caller = reader) -> UploadState:
        """What became of an upload."""
        user_hash, expires_at = tickets.owner(ctx, caller, ticket, user)
        info = find(ctx, user_hash, ticket)
        refused = next(_refused(ctx, user_hash, ticket), None) if info is None else None
        if info is None and refused is None:
            return UploadState(
                ticket=ticket,
                status="expired" if ctx.clock.now() > expires_at else "waiting",
            )
        upload = upload_id_of(info) if info else str(refused and refused.upload_id)
        found = _state(ctx, ticket, upload)
        belongings.hint(str(found.task_id), upload)
        return found

    @router.delete(
        "/uploads/{ticket}",
        responses=refusals(404, 409),
        response_model_exclude_none=True,
    )
    def erase(ticket: UUID, user: User = None, caller: Caller = remover) -> Erased:
        """Take an upload away, whatever became of it, with everything that was made of
        it.
        """
        user_hash = tickets.owner(ctx, caller, ticket, user)[0]
        prefix = keys.uploads(user_hash, str(ticket))
        kept = [
            info
            for info in ctx.store.every_version(ctx.settings.bucket_uploads, prefix)
            if not info.is_marker
        ]
        refused = list(_refused(ctx, user_hash, ticket))
        if not kept and not refused:
            raise Problem(
                409,
                "nothing was uploaded for this ticket, or it is gone already",
                "nothing_there",
            )
        try:
            newest = ctx.uploads.receipt(upload_id_of(kept[0])) if kept else refused[0]
        except NotFound:
            raise Problem(
                409,
                "the photo was not looked at yet; ask again in a moment",
                "too_early",
            ) from None
        for info in kept:
            # one that was overwritten before it was looked at has nothing but its bytes
            with suppress(NotFound):
                receipt = ctx.uploads.receipt(upload_id_of(info))
                if receipt.task_id:
                    belongings.hint(receipt.task_id, receipt.upload_id)
                    cancel_and_erase.erase(
                        ctx,
                        receipt.task_id,
                        belongings.every(caller, UUID(receipt.task_id)),
                    )
                else:
                    cancel_and_erase.erase_rejected(ctx, receipt, info)
            if len(kept) > 1:
                ctx.store.delete(info.bucket, info.key, info.version)
        for receipt in refused:
            cancel_and_erase.erase_rejected(ctx, receipt, None)
            link = keys.refused(str(ticket), receipt.upload_id)
            # last, as it leads to the others
            ctx.store.delete(ctx.settings.bucket_results, link)
        return Erased(
            ticket=ticket, task_id=UUID(newest.task_id) if newest.task_id else None
        )

    return router


def find(ctx: Context, user_hash: str, ticket: UUID) -> ObjectInfo | None:
    """What was uploaded for a ticket; None: nothing."""
    for info in ctx.store.list(
        ctx.settings.bucket_uploads, keys.uploads(user_hash, str(ticket))
    ):
        with suppress(NotFound):
            return ctx.store.head(info.bucket, info.key)
    return None


def _refused(ctx: Context, user_hash: str, ticket: UUID) -> Iterator[Receipt]:
    """What was decided on uploads for a ticket that were refused, and taken away; the
    latest first.
    """
    listed = ctx.store.list(ctx.settings.bucket_results, keys.refused(str(ticket)))
    for info in sorted(listed, key=lambda info: info.last_modified, reverse=True):
        with suppress(NotFound):
            told = Refused.from_bytes(ctx.store.read(info.bucket, info.key), info.key)
            receipt = ctx.uploads.receipt(told.upload_id)
            if receipt.user_hash == user_hash:
                yield receipt


def _metadata(
    wanted: Wanted, name: str, caller: Caller, settings: Settings
) -> dict[str, str]:
    """What the object will say of itself; `name` is its workflow's.

    Raises `PermanentError` for what `on_upload` would refuse later.
    """
    if wanted.bytes and wanted.bytes > settings.max_upload_bytes:
        rule = f"{wanted.bytes:,} bytes; an upload may have {settings.max_upload_bytes:,} (DARKROOM_MAX_UPLOAD_BYTES)"
        raise PermanentError(Code.TOO_LARGE, rule)
    metadata = {
        # All are given, and so all are signed: whoever sends the upload can add none of
        # these. A store may take what a form does not name from the headers of its
        # request, which no signature covers.
        "workflow": name,
        "params": json.dumps(wanted.params, separators=(",", ":")).replace("%", "%25"),
        "user": caller.user_hash,
        "priority": wanted.priority,
        "filename": quote(wanted.filename, safe=""),
        "callback": upload_options.NO_CALLBACK,
    }
    callback = caller.callback if wanted.callback is None else wanted.callback
    if callback is not None:
        check_url(callback, settings)
        metadata["callback"] = callback
    size = sum(len(META) + len(name) + len(value) for name, value in metadata.items())
    if size > MAX_METADATA_BYTES:
        detail = f"filename, params and callback make {size} bytes of metadata, the limit is {MAX_METADATA_BYTES}"
        raise PermanentError(Code.BAD_METADATA, detail)
    return metadata


async def _signed(
    upload: Upload,
    ticket: UUID,
    now: datetime,
    settings: Settings,
    presigner: Presigner,
    offered: Collection[upload_forms.Form],
) -> Ticket:
    lasts_s = int(settings.upload_expires_s)
    form_url, fields = presigner.form(upload, settings.max_upload_bytes, lasts_s, now)
    put = multipart = None
    if "put" in offered:
        put_url, headers = presigner.put(upload, lasts_s, now)
        put = Put(url=put_url, headers=headers)
    if (
        "multipart" in offered
        and upload.bytes
        and upload.bytes > settings.multipart_bytes
    ):
        begin = partial(
            presigner.multipart, upload, settings.multipart_bytes, lasts_s, now
        )
        multipart = _parts(await run_sync(begin))
    return Ticket(
        ticket=ticket,
        key=upload.key,
        post=Form(url=form_url, fields=fields),
        put=put,
        multipart=multipart,
        expires_at=now + timedelta(seconds=lasts_s),
    )


def _parts(signed: Multipart) -> Parts:
    parts = [
        Part(number=number, bytes=size, url=url) for number, size, url in signed.parts
    ]
    return Parts(
        upload_id=signed.upload_id,
        parts=parts,
        complete=signed.complete,
        abort=signed.abort,
    )


def _state(ctx: Context, ticket: UUID, upload: str) -> UploadState:
    try:
        receipt = ctx.uploads.receipt(upload)
    except NotFound:  # it lies there, and its notification is on its way
        return UploadState(ticket=ticket, status="queued")
    found = state.of_receipt(ctx, receipt)
    error = (
        Ended(code=found.fault.error_code, detail=found.fault.error_detail)
        if found.fault
        else None
    )
    return UploadState(
        ticket=ticket,
        status=found.status,
        task_id=UUID(receipt.task_id) if receipt.task_id else None,
        error=error,
    )
