"""`/view`: the bytes of a photo that was uploaded, or of a result.

What a client names is looked up among its own names and is never a path: the object
comes from a ticket or a task of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from uuid import UUID

from starlette.datastructures import QueryParams
from starlette.responses import Response, StreamingResponse

from handlers.comfyui import images, names, prompts
from handlers.comfyui.desk import Desk
from handlers.comfyui.errors import Refusal, not_found
from handlers.comfyui.names import ResultName
from handlers.http.api import uploads
from handlers.http.api.file_names import disposition
from shared.errors import NotFound
from shared.uploads import keys

TYPES = ("input", "temp", "output")
PLAIN = {"image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp"}
"""Types that a browser only shows."""


def view(desk: Desk, query: QueryParams) -> Response:
    """The file that a query names. Raises `Refusal` 400 and 404."""
    given, annotated = names.annotated(query.get("filename", ""))
    kind = annotated or query.get("type", "output")
    if kind not in TYPES:
        raise Refusal("invalid_type", f"type: one of {', '.join(TYPES)}")
    if query.get("channel", "rgb") == "a":
        raise Refusal("invalid_channel", "photos here have no mask; leave channel out")
    subfolder, name = names.split(given, "filename")
    subfolder = names.folder(query.get("subfolder", "")) or subfolder
    if kind == "input":
        return _photo(desk, subfolder, name)
    return _result(desk, kind, subfolder, name, "preview" in query)


def _photo(desk: Desk, subfolder: str, name: str) -> Response:
    path = f"{subfolder}/{name}" if subfolder else name
    try:
        ticket = images.ticket(desk, path)
    except Refusal:
        raise _gone(name) from None
    user_hash = desk.principal.user_hash
    info = uploads.find(desk.ctx, user_hash, UUID(ticket))
    if info is None:
        raise _gone(name)
    return _streamed(desk, info.bucket, info.key, name, info.content_type)


def _result(
    desk: Desk, kind: str, subfolder: str, name: str, as_preview: bool
) -> Response:
    parsed = ResultName.of(name)
    if parsed is None:
        raise _gone(name)
    place = prompts.place(kind, subfolder, parsed.prefix)
    file = desk.shelf.file(place, parsed.counter)
    record = desk.ctx.uploads.readable_record(file.task_id) if file else None
    if file is None or record is None:
        raise _gone(name)
    if record.user_hash != desk.principal.user_hash:
        raise _gone(name)
    bucket = desk.ctx.settings.bucket_results
    if as_preview:
        key = keys.preview(file.task_id)
        return _streamed(desk, bucket, key, name, "image/webp")
    return _streamed(desk, bucket, keys.result(file.task_id), name, "image/png")


def _streamed(
    desk: Desk, bucket: str, key: str, name: str, content_type: str
) -> Response:
    opened = ExitStack()
    try:
        stream: Any = opened.enter_context(desk.ctx.store.open(bucket, key))
    except NotFound:
        raise _gone(name) from None
    is_plain = content_type in PLAIN
    headers = {
        "Content-Length": str(stream.info.bytes),
        "Content-Disposition": disposition(name, attachment=not is_plain),
    }
    media_type = content_type if is_plain else "application/octet-stream"

    def pieces() -> Iterator[bytes]:
        with opened:
            yield from stream.chunks()

    return StreamingResponse(pieces(), 200, headers, media_type)


def _gone(name: str) -> Refusal:
    return not_found(f"no file {name!r} of yours")
