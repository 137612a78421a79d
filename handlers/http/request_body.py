"""Reads a request's body up to a limit of bytes and of time.

Starlette's `RequestBodyLimitMiddleware` has no limit of time, and its refusal is plain
text where every refusal of this API is a problem document.
"""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope

from handlers.http.problems import Problem

BODY_S = 30
"""Longest time in which a request's body must arrive."""
_CLOSE = {"Connection": "close"}


def has_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    if b"transfer-encoding" in headers:
        return True
    return headers.get(b"content-length", b"") not in (b"", b"0")


async def read_body(
    scope: Scope,
    receive: Receive,
    max_bytes: int,
) -> bytes:
    """The whole body; reading stops as soon as it is too large or too slow.

    Raises `Problem` 413 above `max_bytes`, and 408 for a body that is not there within
    `BODY_S`.
    """
    content_length = dict(scope["headers"]).get(b"content-length", b"")
    if content_length.isdigit() and int(content_length) > max_bytes:
        raise _too_large(max_bytes)
    try:
        async with asyncio.timeout(BODY_S):
            return await _read(receive, max_bytes)
    except TimeoutError:
        raise _too_slow() from None


async def _read(receive: Receive, max_bytes: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _too_slow()  # the client has left
        body += message.get("body", b"")
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        if not message.get("more_body", False):
            return bytes(body)


def _too_large(max_bytes: int) -> Problem:
    detail = f"a request may have {max_bytes:,} bytes"
    return Problem(413, detail, "too_large", _CLOSE)


def _too_slow() -> Problem:
    detail = f"the request did not arrive within {BODY_S} s"
    return Problem(408, detail, "slow", _CLOSE)
