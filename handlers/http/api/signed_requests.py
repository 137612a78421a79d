"""The signed requests of a ticket: what the object will say of itself, and how it may be
sent to the store.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime, timedelta
from urllib.parse import quote
from uuid import UUID

from anyio.to_thread import run_sync

from handlers.http.api.upload_shapes import (
    Form,
    Part,
    Parts,
    Put,
    Ticket,
    UploadRequest,
)
from handlers.http.auth.principal import Principal
from handlers.intake import upload_options
from shared import upload_forms
from shared.callback_guard import check_url
from shared.errors import Code, PermanentError
from shared.runtime.settings import Settings, UploadSettings, WebhookSettings
from shared.s3.presign import META, Multipart, Presigner, Upload
from shared.uploads import formats, limits

MAX_METADATA_BYTES = 2048
"""S3's own limit, of all names and values together."""


def metadata_of(
    request: UploadRequest,
    workflow: str,
    principal: Principal,
    settings: Settings,
) -> dict[str, str]:
    """The object's metadata; `workflow` is the name of the resolved workflow.

    All fields are always there, so all are signed, and whoever sends the upload can add
    none of them: a store may take a field that a form does not name from the headers of
    its request, which no signature covers.

    Raises `PermanentError` for what `on_upload` would refuse later.
    """
    allowed = allowed_to(principal, settings, request.ingest is not None)
    _check_size(request, allowed)
    # A job has a callback of its own, at its end.
    usual = None if request.ingest else principal.callback
    callback = callback_of(request.callback, usual, settings)
    params = json.dumps(request.params, separators=(",", ":"))
    metadata = {
        "workflow": workflow,
        "params": params.replace("%", "%25"),
        "user": principal.user_hash,
        "priority": request.priority,
        "filename": quote(request.filename, safe=""),
        "callback": callback or upload_options.NO_CALLBACK,
        "formats": _formats(request, settings),
        "page": str(request.page),
        "ingest": _ingest(request),
        "start": "true" if request.start else "false",
        "limits": _limits(principal, settings, allowed),
    }
    _check_metadata(metadata)
    return metadata


def allowed_to(
    principal: Principal, settings: Settings, of_job: bool = False
) -> Settings:
    """The settings with the limits of what this principal sends."""
    return limits.limits_of(settings, principal.user_hash, of_job, principal.scopes)


async def sign(
    upload: Upload,
    ticket: UUID,
    now: datetime,
    settings: Settings,
    presigner: Presigner,
    offered: Collection[upload_forms.Form],
    begun: str | None = None,
) -> Ticket:
    """The ticket with the requests of the kinds that are `offered`, good from `now`.

    `begun`: the upload in parts that was begun for it before.

    Raises `StorageUnavailable` where an upload in parts cannot be begun.
    """
    lasts_s = int(settings.upload_expires_s)
    max_bytes = settings.max_upload_bytes
    url, fields = presigner.form(upload, max_bytes, lasts_s, now)
    signed = Ticket(
        ticket=ticket,
        key=upload.key,
        post=Form(url=url, fields=fields),
        put=None,
        multipart=None,
        expires_at=now + timedelta(seconds=lasts_s),
    )
    if "put" in offered:
        url, headers = presigner.put(upload, lasts_s, now)
        signed.put = Put(url=url, headers=headers)
    if "multipart" in offered and _is_large(upload, settings):
        part_bytes = settings.multipart_bytes
        multipart = await run_sync(
            presigner.multipart, upload, part_bytes, lasts_s, now, begun
        )
        signed.multipart = _parts(multipart)
    return signed


def _check_size(
    request: UploadRequest,
    settings: UploadSettings,
) -> None:
    most = settings.max_upload_bytes
    if request.bytes and request.bytes > most:
        detail = (
            f"{request.bytes:,} bytes; an upload may have {most:,}"
            " (DARKROOM_MAX_UPLOAD_BYTES, DARKROOM_PHOTO_LIMITS)"
        )
        raise PermanentError(Code.TOO_LARGE, detail)


def callback_of(
    asked: str | None,
    usual: str | None,
    settings: WebhookSettings,
) -> str | None:
    """The URL that is called at the end: the one that is asked for, else the usual one.

    Raises `PermanentError` where no call may go there.
    """
    callback = usual if asked is None else asked
    if callback is not None:
        check_url(callback, settings)
    return callback


def _limits(principal: Principal, settings: Settings, allowed: Settings) -> str:
    figures = (settings.max_upload_bytes, settings.max_pixels)
    if figures == (allowed.max_upload_bytes, allowed.max_pixels):
        return limits.NONE
    return limits.told(allowed, principal.user_hash)


def _ingest(request: UploadRequest) -> str:
    named = request.ingest
    return f"{named.job}/{named.item}" if named else upload_options.NO_INGEST


def _formats(request: UploadRequest, settings: UploadSettings) -> str:
    asked = request.formats
    default = formats.parse(settings.formats)
    wanted = default if asked is None else formats.ordered(asked)
    return ",".join(wanted) or formats.NO_FORMATS


def _check_metadata(metadata: dict[str, str]) -> None:
    size = 0
    for name, value in metadata.items():
        size += len(META) + len(name) + len(value)
    if size > MAX_METADATA_BYTES:
        detail = f"filename, params and callback make {size} bytes of metadata, the limit is {MAX_METADATA_BYTES}"
        raise PermanentError(Code.BAD_METADATA, detail)


def _is_large(upload: Upload, settings: UploadSettings) -> bool:
    return upload.bytes is not None and upload.bytes > settings.multipart_bytes


def _parts(signed: Multipart) -> Parts:
    parts = [
        Part(
            number=number,
            bytes=size,
            url=url,
            etag=signed.sent.get(number),
        )
        for number, size, url in signed.parts
    ]
    return Parts(
        upload_id=signed.upload_id,
        parts=parts,
        complete=signed.complete,
        abort=signed.abort,
    )
