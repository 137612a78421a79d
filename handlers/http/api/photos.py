"""Photos that lie in the bucket already, as requests name them: to look ahead, or to
start work on one (again).
"""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from handlers.context import Context
from handlers.http.api import state, tickets
from handlers.http.api.services import Services
from handlers.http.api.uploads import find
from handlers.http.auth.principal import Principal
from handlers.http.problems import Problem
from shared.errors import NotFound
from shared.s3.store import ObjectInfo
from shared.uploads.documents import Receipt, Superseded


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


def named(
    api: Services,
    principal: Principal,
    origin: Origin,
) -> Receipt:
    """The receipt that the origin names: an upload's, a run's or a preview's.

    Raises `Problem` 403, 404, and 409 while there is none yet.
    """
    if origin.task_id:
        return api.ownership.one(principal, origin.task_id)
    info = _uploaded(api.ctx, principal, origin)
    if info is None:
        raise Problem(404, "no such photo was uploaded", "not_found")
    return state.receipt_of(api.ctx, info)


def photo_of(ctx: Context, receipt: Receipt) -> Receipt:
    """The receipt of the upload whose bytes a run or a preview is made of; of an upload
    its own. Raises `Problem` 409 where there is nothing left to work on.
    """
    try:
        photo = _photo_of(ctx, receipt)
    except NotFound:
        raise gone() from None
    if isinstance(photo, Superseded):
        detail = "the photo was put again at its key; name that one"
        raise Problem(409, detail, "already_ended")
    is_refused = photo.decision == "rejected" or photo.source.sha256 is None
    if is_refused or ctx.uploads.is_erased(photo):
        raise gone()
    return photo


def gone() -> Problem:
    detail = "the photo was refused or erased; upload it again"
    return Problem(409, detail, "already_ended")


def _photo_of(ctx: Context, receipt: Receipt) -> Receipt:
    if receipt.preview:
        upload_id = receipt.upload_id.split("/")[1]
        return ctx.uploads.receipt(upload_id)
    return ctx.uploads.photo_of(receipt)


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
