"""`/v1/previews`: a part, or a small version, of an uploaded photo, made by the very
pipeline that will restore it.

A preview is a task of its own with a result, a record and events like any other, but
without an upload: it has no row in the audit log, the sweep does not know of it, and a
client that misses it asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from handlers import erasure
from handlers.context import Context
from handlers.http.api import photos, sheets
from handlers.http.api.dependencies import Api, CountPreview, Uploader
from handlers.http.api.photos import Origin
from handlers.http.api.responses import refusals
from handlers.http.api.services import Services
from handlers.http.auth.principal import Principal
from handlers.http.problems import Problem
from handlers.intake import masks
from shared import workflows
from shared.broker.topology import PREVIEW
from shared.uploads import identity, keys
from shared.uploads.documents import PreviewSpec, Receipt, Region
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


class PreviewRequest(BaseModel):
    """`region` or `max_px`; without either the whole photo, small."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    source: Origin
    workflow: str = Field(min_length=1, max_length=80)
    params: dict[str, Any] = {}
    sets: list[dict[str, Any]] | None = Field(
        None,
        min_length=2,
        max_length=sheets.MOST,
        description="Instead of `params`: several sets of them, for one sheet.",
    )
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
        if self.sets and self.params:
            raise ValueError("params and sets exclude each other")
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


class Shown(Begun):
    """One preview of a sheet."""

    params: dict[str, Any]


class Sheet(BaseModel):
    """`sheet`: where the previews are shown beside each other, once all are done."""

    sheet: str
    previews: list[Shown]


@router.post("/previews", status_code=202, responses=refusals(400, 404, 408, 409, 413))
def begin_preview(
    wanted: PreviewRequest,
    api: Api,
    count: CountPreview,
    principal: Uploader,
) -> Begun | Sheet:
    """Begin a preview, before all bulk work; its task is read, watched and fetched
    like any other. With `sets`, one for each of them, and a sheet of all.
    """
    given = [wanted.params] if wanted.sets is None else wanted.sets
    # All are looked at before any is begun.
    usual = api.ctx.settings.usual_params
    resolved = [workflows.asked(wanted.workflow, params, usual) for params in given]
    for workflow in resolved:
        api.ctx.offers.check(workflow)
    origin = photos.named(api, principal, wanted.source)
    photo = photos.photo_of(api.ctx, origin)
    fixed = [
        masks.fixed(api.ctx, workflow, photo.user_hash, origin.mask)
        for workflow in resolved
    ]
    begun = [
        _begin(
            api,
            principal,
            count,
            photo.model_copy(update={"mask": mask}),
            wanted.spec(),
            workflow,
        )
        for workflow, mask in fixed
    ]
    if wanted.sets is None:
        return begun[0]
    shown = [
        Shown(**each.model_dump(), params=params)
        for each, params in zip(begun, given, strict=True)
    ]
    sheet = sheets.address([each.task_id for each in begun])
    return Sheet(sheet=sheet, previews=shown)


def _begin(
    api: Services,
    principal: Principal,
    count: Callable[[int], None],
    photo: Receipt,
    spec: PreviewSpec,
    workflow: ResolvedWorkflow,
) -> Begun:
    receipt = _receipt(api.ctx, photo, spec, workflow)
    task_id = receipt.task_id or ""
    api.ownership.hint(task_id, receipt.upload_id)
    if api.ctx.uploads.readable_record(task_id) is None:
        with _admitted(api, principal, receipt):
            count(round(_pixels(spec, photo) * workflow.scale**2))
            _publish(api.ctx, receipt, photo)
    return Begun(task_id=UUID(task_id), signature=workflow.ref.signature)


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
        "upload_id": keys.preview_upload(photo.upload_id, task_id),
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
    photo: Receipt,
) -> None:
    """Begin the preview; one that failed before begins anew. Raises
    `BrokerUnavailable`: then nothing is promised.
    """
    ctx.uploads.delete_reason(receipt.upload_id)
    ctx.uploads.write_receipt(receipt)
    # Read after the receipt is written, not before: an erasure first ends the photo
    # and then looks for previews.
    if ctx.uploads.is_erased(photo):
        erasure.erase(ctx, receipt.task_id or "", [receipt])
        raise photos.gone()
    ctx.publisher.publish(PREVIEW, receipt.restore_task.encode())
