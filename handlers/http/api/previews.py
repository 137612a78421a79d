"""A look ahead: a part, or a small version, of an uploaded photo through the very
pipeline that will restore it.

A preview is a task of its own with a result, a record and events like any other, but no
upload: it has no row in the log, the sweep does not know of it, and whoever misses it
asks again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, model_validator

from handlers import erasure
from handlers.context import Context
from handlers.http.api import tickets
from handlers.http.api.auth import looker
from handlers.http.api.ownership import Belongings
from handlers.http.api.responses import refusals
from handlers.http.api.uploads import find
from handlers.http.auth.preview_limits import Looks
from handlers.http.auth.principal import Authenticate, Caller, needs
from handlers.http.problems import Problem
from handlers.retelling import task_of
from shared import workflows
from shared.broker.topology import PREVIEW
from shared.errors import Code, NotFound
from shared.uploads import identity, keys
from shared.uploads.documents import Glimpse, Receipt, Region, Superseded
from shared.uploads.outcome import ERASED_KEY
from shared.uploads.ref import UploadRef, upload_id_of

RETRY_S = 5
"""When somebody whose previews are all under way may ask again."""
UNWRITTEN_S = 60.0
"""Age at which a preview without a receipt is not one that is only being begun."""
LookAhead = Annotated[Callable[[int], None], Depends(looker)]

MAX_PX = 512
"""Longer side of a preview that names neither a size nor a region, before the work."""


class Origin(BaseModel):
    """The photo: exactly one of these."""

    model_config = ConfigDict(extra="forbid")

    ticket: UUID | None = None
    task_id: UUID | None = None
    key: str | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="In the uploads bucket: the operator's.",
    )

    @model_validator(mode="after")
    def _one(self) -> Origin:
        if [self.ticket, self.task_id, self.key].count(None) != 2:
            raise ValueError("name exactly one of ticket, task_id, key")
        return self


class Look(BaseModel):
    """`region` or `max_px`; without either the whole photo, small."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "source": {"ticket": "6aa1b3f2-0c1d-8e4f-9a5b-2c3d4e5f6071"},
                    "workflow": "enhance",
                    "params": {"scale": 2},
                    "region": {"x": 120, "y": 80, "width": 256, "height": 256},
                },
            ]
        },
    )

    source: Origin
    workflow: str = Field(min_length=1, max_length=80)
    params: dict[str, Any] = {}
    region: Region | None = None
    max_px: int | None = Field(
        None, ge=16, le=2048, description="Longer side before the work [px]."
    )

    @model_validator(mode="after")
    def _either(self) -> Look:
        if self.region and self.max_px:
            raise ValueError("region and max_px exclude each other")
        return self

    def glimpse(self) -> Glimpse:
        return Glimpse(
            region=self.region, max_px=None if self.region else self.max_px or MAX_PX
        )


class Begun(BaseModel):
    """`task_id` of the preview; `signature` is the one that the record of the whole
    photo will carry, too.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "task_id": "0b0e7f1c-2f54-5b0e-8f0a-6c1d2e3f4a5b",
                    "signature": "0123456789abcdef",
                },
            ]
        }
    )

    task_id: UUID
    signature: str


def build(ctx: Context, belongings: Belongings, who: Authenticate) -> APIRouter:
    router = APIRouter(tags=["previews"])
    uploader = needs("upload", who)
    looks = Looks(ctx.settings.limit_previews)

    @router.post(
        "/previews", status_code=202, responses=refusals(400, 404, 408, 409, 413)
    )
    def look(wanted: Look, count: LookAhead, caller: Caller = uploader) -> Begun:
        """Begin a preview, before all bulk work; its task is asked for, watched and
        fetched like any other.
        """
        resolved = workflows.resolve(wanted.workflow, wanted.params)
        ctx.offers.check(resolved)
        workflow = resolved.ref
        photo = _photo(ctx, belongings, caller, wanted.source)
        if (
            photo.decision == "rejected"
            or photo.source.sha256 is None
            or photo.source.key == ERASED_KEY
        ):
            raise nothing()
        if isinstance(photo, Superseded):
            raise Problem(
                409,
                "the photo was put again at its key; preview that one",
                "already_ended",
            )
        glimpse = wanted.glimpse()
        told = glimpse.model_dump(exclude_none=True)
        task = identity.preview_id(
            photo.user_hash, photo.source.sha256, workflow.signature, told
        )
        # A preview of a preview is one of the photo.
        origin = photo.upload_id.split("/")[1] if photo.preview else photo.upload_id
        upload = keys.preview_upload(origin, task)
        begun = photo.model_copy(
            update={
                "upload_id": upload,
                "decision": "queued",
                "priority": "interactive",
                "decided_at": ctx.clock.now(),
                "task_id": task,
                "workflow": workflow,
                "fault": None,
                "preview": glimpse,
                "retries": 0,
                "retried_at": None,
                "callback": None,
            }
        )
        belongings.hint(task, upload)
        if ctx.uploads.readable_record(task) is None:
            has_ended = partial(_has_ended, ctx, begun)
            if not caller.operator and not looks.admits(
                caller.user_hash, task, has_ended
            ):
                detail = f"{looks.quota} previews of yours are under way; ask again when one of them is done"
                raise Problem(
                    429, detail, "too_many_previews", {"Retry-After": str(RETRY_S)}
                )
            try:
                count(round(_pixels(glimpse, photo) * resolved.scale**2))
                _publish(ctx, origin, begun)
            except Exception:
                looks.forget(caller.user_hash, task, has_ended)
                raise
        return Begun(task_id=UUID(task), signature=workflow.signature)

    return router


def nothing() -> Problem:
    return Problem(
        409,
        "the photo was refused or erased; there is nothing to preview",
        "already_ended",
    )


def _pixels(glimpse: Glimpse, photo: Receipt) -> int:
    """Pixels of what is looked at, before the work; of a photo whose size is not known,
    the most that they may be.
    """
    if glimpse.region:
        return glimpse.region.width * glimpse.region.height
    longest = glimpse.max_px or MAX_PX
    width, height = photo.source.width or longest, photo.source.height or longest
    shrunk = min(1.0, longest / max(width, height))
    return max(1, round(width * shrunk)) * max(1, round(height * shrunk))


def _has_ended(ctx: Context, begun: Receipt) -> bool:
    if ctx.uploads.readable_outcome(begun):
        return True
    if ctx.clock.now() - begun.decided_at < timedelta(seconds=UNWRITTEN_S):
        return False  # its receipt may not be written yet
    # The sweep deletes it with its record or reason.
    return ctx.uploads.receipt_info(begun.upload_id) is None


def _publish(ctx: Context, photo: str, begun: Receipt) -> None:
    """Raises `BrokerUnavailable`: nothing is promised. One that failed before begins
    anew.
    """
    ctx.uploads.delete_reason(begun.upload_id)
    ctx.uploads.write_receipt(begun)
    # Asked after the receipt, not before: an erasure gives the photo its end first and
    # looks for previews then.
    reason = ctx.uploads.reason_of(UploadRef(photo, begun.source.upload_time))
    if reason and reason.error_code == Code.ERASED:
        erasure.erase(ctx, begun.task_id or "", [begun])
        raise nothing()
    ctx.publisher.publish(PREVIEW, task_of(begun).encode())


def _photo(
    ctx: Context, belongings: Belongings, caller: Caller, origin: Origin
) -> Receipt:
    """What was decided about the photo. Raises `Problem` 404, and 409 while nothing is
    decided.
    """
    if origin.task_id:
        return belongings.one(caller, origin.task_id)
    bucket = ctx.settings.bucket_uploads
    if origin.ticket:
        user_hash, _ = tickets.owner(ctx, caller, origin.ticket, None)
        found = find(ctx, user_hash, origin.ticket)
    elif not caller.operator:
        raise Problem(
            403, "only the operator's key may name a key of the bucket", "forbidden"
        )
    else:
        found = None
        with suppress(NotFound):
            found = ctx.store.head(bucket, origin.key or "")
    if found is None:
        raise Problem(404, "no such photo was uploaded", "not_found")
    try:
        return ctx.uploads.receipt(upload_id_of(found))
    except NotFound:
        raise Problem(
            409, "the photo was not looked at yet; ask again in a moment", "too_early"
        ) from None
