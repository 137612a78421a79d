"""`/v1/tasks/{task_id}/original`: the photo as it was put, beside which a result, or a
preview, is looked at.
"""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from handlers.http.api.dependencies import Api, Reader
from handlers.http.api.links import LINK_S, link
from handlers.http.problems import Problem
from handlers.intake.original import is_there
from shared.uploads.outcome import ERASED_KEY

router = APIRouter(tags=["tasks"])


@link(router, "/tasks/{task_id}/original")
def original(
    task_id: UUID,
    api: Api,
    principal: Reader,
) -> Response:
    """A link to the photo as it was put, good for five minutes."""
    photo = api.ownership.one(principal, task_id)
    source = photo.source
    if source.key == ERASED_KEY:
        raise Problem(404, f"the photo of task {task_id} is erased", "not_found")
    ctx = api.ctx
    # Where versions are kept the link is to this one; elsewhere to the key, at which
    # another photo, perhaps of another user, may lie by now.
    if not is_there(ctx, photo):
        detail = f"the original of task {task_id} is not there any more"
        raise Problem(404, detail, "not_found")
    now = ctx.clock.now()
    version = source.version
    url = api.presigner.get(source.bucket, source.key, LINK_S, now, version=version)
    return RedirectResponse(url, 307)
