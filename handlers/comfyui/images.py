"""Photos that clients upload, and the names by which prompts mean them.

A photo is an upload as any other, held back until a prompt starts it. A name stands for
one upload, and for another one once it is given to other bytes: what was started before
goes on with the bytes that it was started with.
"""

from __future__ import annotations

import mimetypes
from datetime import timedelta
from typing import IO
from uuid import UUID

from handlers.comfyui import names
from handlers.comfyui.desk import Desk
from handlers.comfyui.documents import Image
from handlers.comfyui.errors import Refusal
from handlers.http.api import photos, tickets, uploads
from handlers.http.api.photos import Origin
from handlers.http.api.signed_requests import metadata_of
from handlers.http.api.upload_shapes import UploadRequest
from handlers.http.problems import Problem
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from shared.uploads import keys
from shared.uploads.documents import Receipt

MOST_TRIES = 100
"""Numbers that are tried for a name that is taken."""
AGAIN = "upload it by POST /upload/image first"


def store(
    desk: Desk,
    file: IO[bytes],
    size: int,
    sha256: str,
    name: str,
    subfolder: str,
    overwrite: bool,
) -> str:
    """Take in a photo and give it a name; the name that it got. Raises `Refusal`, and
    `Problem` 429.
    """
    for number in range(MOST_TRIES):
        given = names.numbered(name, number)
        place = _joined(subfolder, given)
        known = desk.shelf.image(place)
        if known and known.sha256 == sha256 and _is_there(desk, known):
            return given
        is_own = known is not None and known.sha256 == sha256
        if known and not is_own and not overwrite:
            continue
        image = Image(ticket=_put(desk, file, size, given), sha256=sha256)
        if known:
            desk.shelf.set_image(place, image)
            return given
        if desk.shelf.add_image(place, image):
            return given
        # Another request took the name meanwhile.
        if overwrite:
            desk.shelf.set_image(place, image)
            return given
    detail = f"{MOST_TRIES} photos of yours have this name; choose another, or send overwrite=true"
    raise Refusal("invalid_filename", "The name is taken", detail)


def ticket(desk: Desk, name: str) -> str:
    """The ticket of the upload that a name stands for. Raises `Refusal`."""
    plain, kind = names.annotated(name)
    if kind not in (None, "input"):
        detail = "only uploaded photos can be loaded: fetch the result by /view, and upload it"
        raise Refusal("invalid_filename", "Not an uploaded photo", detail)
    subfolder, plain = names.split(plain, "image")
    image = desk.shelf.image(_joined(subfolder, plain))
    if image is None:
        raise Refusal("invalid_filename", "No such photo", AGAIN)
    return image.ticket


def photo(desk: Desk, name: str) -> Receipt:
    """The receipt of the photo that a name stands for. Raises `Refusal`."""
    origin = Origin(ticket=UUID(ticket(desk, name)), task_id=None, key=None)
    try:
        return photos.photo_of(desk.ctx, photos.named(desk.api, desk.principal, origin))
    except Problem as problem:
        if problem.status in (429, 503):
            raise
        raise Refusal("invalid_filename", "No such photo", AGAIN) from problem


def _joined(subfolder: str, name: str) -> str:
    return f"{subfolder}/{name}" if subfolder else name


def _is_there(desk: Desk, image: Image) -> bool:
    user_hash = desk.principal.user_hash
    return uploads.find(desk.ctx, user_hash, UUID(image.ticket)) is not None


def _put(desk: Desk, file: IO[bytes], size: int, name: str) -> str:
    """Put a photo into the bucket and decide on it; its ticket. Raises `Refusal` for
    what is no photo.
    """
    ctx, principal = desk.ctx, desk.principal
    settings = ctx.settings
    desk.count_upload(size)
    wanted = UploadRequest.model_validate(
        {
            "filename": name,
            "content_type": _content_type(name),
            "priority": "interactive",
            "bytes": size,
            "start": False,
        }
    )
    metadata = metadata_of(wanted, settings.default_workflow, principal, settings)
    expires_at = ctx.clock.now() + timedelta(seconds=int(settings.upload_expires_s))
    pepper = settings.pepper.get_secret_value().encode()
    drawn = tickets.draw(pepper, principal.user_hash, expires_at)
    bucket = settings.bucket_uploads
    key = keys.upload(principal.user_hash, str(drawn))
    info = ctx.store.put(bucket, key, file, wanted.content_type, metadata)
    event = UploadEvent(bucket, key, "create", info.version, info.etag)
    decision = on_upload(event, ctx)
    if decision.kind == "rejected" and decision.upload_id:
        fault = ctx.uploads.receipt(decision.upload_id).fault
        detail = fault.error_detail if fault else ""
        raise Refusal(str(decision.code), "The file was refused", detail)
    return str(drawn)


def _content_type(name: str) -> str:
    kind = mimetypes.guess_type(name)[0] or ""
    return kind if kind.startswith("image/") else "application/octet-stream"
