"""The form by which a photo is uploaded, read up to a limit of bytes and of time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from handlers.comfyui.errors import Refusal
from handlers.http.problems import Problem

MORE_BYTES = 64 << 10
"""Of a form beside its file."""
MOST_FIELDS = 10
SILENCE_S = 30.0
"""Longest time in which some of the form must arrive."""
LONGEST_S = 600.0
"""And all of it."""
CLOSE = {"Connection": "close"}


@dataclass(frozen=True)
class Sent:
    """A file with what was said of it."""

    file: SpooledTemporaryFile[bytes]
    size: int
    sha256: str
    name: str
    fields: dict[str, str]


@asynccontextmanager
async def sent(request: Request, max_bytes: int) -> AsyncIterator[Sent]:
    """The file of a form's field `image`. Raises `Refusal`, and `Problem` 408 and 413."""
    content_type = request.headers.get("content-type", "")
    if not content_type.startswith("multipart/form-data"):
        detail = "send multipart/form-data with the file as `image`"
        raise Refusal("no_image", "No image provided", detail)
    parser = MultiPartParser(
        request.headers,
        _pieces(request, max_bytes),
        max_files=1,
        max_fields=MOST_FIELDS,
        max_part_size=MORE_BYTES,
    )
    try:
        async with asyncio.timeout(LONGEST_S):
            form = await parser.parse()
    except MultiPartException as error:
        detail = f"the form cannot be read: {error.message}"
        raise Refusal("no_image", "No image provided", detail) from error
    except TimeoutError:
        raise _too_slow() from None
    try:
        yield await asyncio.to_thread(_read, form)
    finally:
        await form.close()


def _read(form: FormData) -> Sent:
    image = form.get("image")
    if not isinstance(image, UploadFile) or not image.filename:
        detail = "the form has no file as `image`, with a filename"
        raise Refusal("no_image", "No image provided", detail)
    fields = {
        name: value for name, value in form.multi_items() if isinstance(value, str)
    }
    digest = hashlib.sha256()
    size = 0
    image.file.seek(0)
    while piece := image.file.read(1 << 20):
        digest.update(piece)
        size += len(piece)
    image.file.seek(0)
    if size == 0:
        raise Refusal("no_image", "No image provided", "the file is empty")
    file = image.file
    assert isinstance(file, SpooledTemporaryFile)
    return Sent(file, size, digest.hexdigest(), image.filename, fields)


async def _pieces(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body as it comes. Raises `Problem` 408 and 413."""
    left = max_bytes + MORE_BYTES
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(SILENCE_S):
                piece = await anext(stream, None)
        except TimeoutError:
            raise _too_slow() from None
        if piece is None:
            return
        left -= len(piece)
        if left < 0:
            detail = (
                f"an upload may have {max_bytes:,} bytes (DARKROOM_MAX_UPLOAD_BYTES)"
            )
            raise Problem(413, detail, "too_large", CLOSE)
        yield piece


def _too_slow() -> Problem:
    detail = f"nothing came for {SILENCE_S:g} s, or not all within {LONGEST_S:g} s"
    return Problem(408, detail, "slow", CLOSE)
