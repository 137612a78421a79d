"""Headers that every response carries, even the one to a bug of ours."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handlers.http.auth.address import Addresses
from handlers.http.auth.middleware import is_guarded

Headers = list[tuple[bytes, bytes]]

DEFAULTS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}
"""A response that has such a header keeps its own."""
CACHE_CONTROL = b"cache-control"
NO_STORE = (CACHE_CONTROL, b"no-store")
AMBIGUOUS = frozenset({b"content-length", b"transfer-encoding"})
"""A proxy that believed the other of these two would take the rest of the body for a
request (RFC 9112, 6.1), so the connection is closed.
"""
CLOSE = (b"connection", b"close")
HSTS = (b"strict-transport-security", b"max-age=63072000; includeSubDomains")


class SecurityHeaders:
    """Pure ASGI, around everything else."""

    def __init__(
        self,
        app: ASGIApp,
        addresses: Addresses,
    ) -> None:
        self._app = app
        self._addresses = addresses

    async def __call__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = self._secured(scope, message.get("headers", []))
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, secured)

    def _secured(
        self,
        scope: Scope,
        headers: Headers,
    ) -> Headers:
        secured = list(headers)
        names = _names(headers)
        for name, value in DEFAULTS.items():
            if name not in names:
                secured.append((name, value))
        if is_guarded(scope["path"]):
            # What is answered to one user must not come out of a cache for another.
            secured = _without(CACHE_CONTROL, secured)
            secured.append(NO_STORE)
        if self._addresses.is_https(scope):
            secured.append(HSTS)
        if {name for name, _ in scope["headers"]} >= AMBIGUOUS:
            secured.append(CLOSE)
        return secured


def _names(headers: Headers) -> set[bytes]:
    return {name.lower() for name, _ in headers}


def _without(unwanted: bytes, headers: Headers) -> Headers:
    return [(name, value) for name, value in headers if name.lower() != unwanted]
