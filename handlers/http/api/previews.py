"""`/v1/previews`: a part, or a small version, of an uploaded photo, made by the very
pipeline that will restore it.

A preview is a task of its own with a result, a record and events like any other, but
without an upload: it has no row in the audit log, the sweep does not know of it, and a
client that misses it asks again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from handlers import erasure
from handlers.context import Context
from handlers.http.api import state, tickets
from handlers.http.api.dependencies import Api, CountPreview, Uploader
from handlers.http.api.responses import refusals
from handlers.http.api.services import Services
from handlers.http.api.uploads import find
from handlers.http.auth.principal import Principal
from handlers.http.problems import Problem
from shared import workflows
from shared.broker.topology import PREVIEW
from shared.errors import Code, NotFound
from shared.s3.store import ObjectInfo
from shared.uploads import identity, keys
from shared.uploads.documents import PreviewSpec, Receipt, Region, Superseded
from shared.uploads.outcome import ERASED_KEY
from shared.uploads.ref import UploadRef
from shared.workflows import ResolvedWorkflow

router = APIRouter(tags=["previews"])

RETRY_S = 5
"""When a user whose previews are all under way may try again."""
UNWRITTEN_S = 60.0
"""A preview without a receipt that is older than this was deleted; a younger one may
only be beginning.
"""
MAX_PX = 512
"""Longer side of a preview that names neither a size nor a region, before the work."""

EXAMPLE: JsonDict = {
    "source": {"ticket": "6aa1b3f2-0c1d-8e4f-9a5b-2c3d4e5f6071"},
    "workflow": "enhance",
    "params": {"scale": 2},
    "region": {"x": 120, "y": 80, "width": 256, "height": 256},
}
BEGUN_EXAMPLE: JsonDict = {
    "task_id": "0b0e7f1c-2f54-5b0e-8f0a-6c1d2e3f4a5b",
    "signature": "0123456789abcdef",
}


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


class PreviewRequest(BaseModel):
    """`region` or `max_px`; without either the whole photo, small."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    source: Origin
    workflow: str = Field(min_length=1, max_length=80)
    params: dict[str, Any] = {}
    region: Region | None = None
    max_px: int | None = Field(
        None,
        ge=16,
        le=2048,
        description="Longer side before the work [px].",
    )

    @model_validator(mode="after")
    def _either(self) -> PreviewRequest:
        if self.region and self.max_px:
            raise ValueError("region and max_px exclude each other")
        return self

    def spec(self) -> PreviewSpec:
        if self.region:
            return PreviewSpec(region=self.region, max_px=None)
        return PreviewSpec(region=None, max_px=self.max_px or MAX_PX)


class Begun(BaseModel):
    """`task_id` of the preview; `signature` is the one that the record of the whole
    photo will carry, too.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [BEGUN_EXAMPLE]})

    task_id: UUID
    signature: str


@router.post("/previews", status_code=202, responses=refusals(400, 404, 408, 409, 413))
def begin_preview(
    wanted: PreviewRequest,
    api: Api,
    count: CountPreview,
    principal: Uploader,
) -> Begun:
    """Begin a preview, before all bulk work; its task is read, watched and fetched
    like any other.
    """
    workflow = workflows.resolve(wanted.workflow, wanted.params)
    api.ctx.offers.check(workflow)
    photo = _photo(api, principal, wanted.source)
    _check_can_be_previewed(photo)
    spec = wanted.spec()
    receipt = _receipt(api.ctx, photo, spec, workflow)
    task_id = receipt.task_id or ""
    api.ownership.hint(task_id, receipt.upload_id)
    if api.ctx.uploads.readable_record(task_id) is None:
        with _admitted(api, principal, receipt):
            count(round(_pixels(spec, photo) * workflow.scale**2))
            _publish(api.ctx, receipt, _photo_id(photo))
    return Begun(task_id=UUID(task_id), signature=workflow.ref.signature)


def nothing() -> Problem:
    detail = "the photo was refused or erased; there is nothing to preview"
    return Problem(409, detail, "already_ended")


def _check_can_be_previewed(photo: Receipt) -> None:
    """Raises `Problem` 409."""
    is_erased = photo.source.key == ERASED_KEY
    if photo.decision == "rejected" or photo.source.sha256 is None or is_erased:
        raise nothing()
    if isinstance(photo, Superseded):
        detail = "the photo was put again at its key; preview that one"
        raise Problem(409, detail, "already_ended")


def _receipt(
    ctx: Context,
    photo: Receipt,
    spec: PreviewSpec,
    workflow: ResolvedWorkflow,
) -> Receipt:
    """The receipt of a preview of `photo`."""
    task_id = identity.preview_id(
        photo.user_hash,
        photo.source.sha256 or "",
        workflow.ref.signature,
        spec.model_dump(exclude_none=True),
        photo.source.page,
    )
    changes = {
        "upload_id": keys.preview_upload(_photo_id(photo), task_id),
        "decision": "queued",
        "priority": "interactive",
        "decided_at": ctx.clock.now(),
        "task_id": task_id,
        "workflow": workflow.ref,
        "fault": None,
        "preview": spec,
        "retries": 0,
        "retried_at": None,
        "callback": None,
        "formats": [],
    }
    return photo.model_copy(update=changes)


def _photo_id(photo: Receipt) -> str:
    """The upload id of the photo; a preview of a preview is one of the photo."""
    if photo.preview:
        return photo.upload_id.split("/")[1]
    return photo.upload_id


@contextmanager
def _admitted(
    api: Services,
    principal: Principal,
    receipt: Receipt,
) -> Iterator[None]:
    """Count the preview as one under way, unless it is not begun after all.

    Raises `Problem` 429 where too many of the user are.
    """
    limit = api.previews
    task_id = receipt.task_id or ""
    has_ended = partial(_has_ended, api.ctx, receipt)
    if not principal.operator and not limit.admits(
        principal.user_hash, task_id, has_ended
    ):
        detail = f"{limit.quota} previews of yours are under way; ask again when one of them is done"
        headers = {"Retry-After": str(RETRY_S)}
        raise Problem(429, detail, "too_many_previews", headers)
    try:
        yield
    except Exception:
        limit.forget(principal.user_hash, task_id, has_ended)
        raise


def _pixels(spec: PreviewSpec, photo: Receipt) -> int:
    """Pixels of the preview before the work; of a photo whose size is not known, the
    most that they may be.
    """
    if spec.region:
        return spec.region.width * spec.region.height
    longest = spec.max_px or MAX_PX
    source = photo.source
    width = source.width or longest
    height = source.height or longest
    scale = min(1.0, longest / max(width, height))
    scaled_width = max(1, round(width * scale))
    scaled_height = max(1, round(height * scale))
    return scaled_width * scaled_height


def _has_ended(ctx: Context, receipt: Receipt) -> bool:
    if ctx.uploads.readable_outcome(receipt):
        return True
    age = ctx.clock.now() - receipt.decided_at
    if age < timedelta(seconds=UNWRITTEN_S):
        return False
    # The sweep deletes it with its record or reason.
    return ctx.uploads.receipt_info(receipt.upload_id) is None


def _publish(
    ctx: Context,
    receipt: Receipt,
    photo_id: str,
) -> None:
    """Begin the preview; one that failed before begins anew. Raises
    `BrokerUnavailable`: then nothing is promised.
    """
    ctx.uploads.delete_reason(receipt.upload_id)
    ctx.uploads.write_receipt(receipt)
    # Read after the receipt is written, not before: an erasure first ends the photo
    # and then looks for previews.
    photo = UploadRef(photo_id, receipt.source.upload_time)
    reason = ctx.uploads.reason_of(photo)
    if reason and reason.error_code == Code.ERASED:
        erasure.erase(ctx, receipt.task_id or "", [receipt])
        raise nothing()
    ctx.publisher.publish(PREVIEW, receipt.restore_task.encode())


def _photo(
    api: Services,
    principal: Principal,
    origin: Origin,
) -> Receipt:
    """The receipt of the photo. Raises `Problem` 403, 404, and 409 while there is none
    yet.
    """
    if origin.task_id:
        return api.ownership.one(principal, origin.task_id)
    info = _uploaded(api.ctx, principal, origin)
    if info is None:
        raise Problem(404, "no such photo was uploaded", "not_found")
    return state.receipt_of(api.ctx, info)


def _uploaded(
    ctx: Context,
    principal: Principal,
    origin: Origin,
) -> ObjectInfo | None:
    if origin.ticket:
        user_hash, _ = tickets.owner(ctx, principal, origin.ticket, None)
        return find(ctx, user_hash, origin.ticket)
    if not principal.operator:
        detail = "only the operator's key may name a key of the bucket"
        raise Problem(403, detail, "forbidden")
    with suppress(NotFound):
        return ctx.store.head(ctx.settings.bucket_uploads, origin.key or "")
    return None
