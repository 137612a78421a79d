"""Headers that every answer carries, the one to a bug of ours, too."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handlers.http.auth.address import Addresses
from handlers.http.auth.middleware import is_guarded

USUAL = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}
"""A page that needs more sets a policy of its own, which stays."""
NO_STORE = (b"cache-control", b"no-store")
AMBIGUOUS = frozenset({b"content-length", b"transfer-encoding"})
"""A proxy that believed the other one takes the rest of such a body for a request (RFC
9112, 6.1): no more is read.
"""
CLOSE = (b"connection", b"close")
HSTS = (b"strict-transport-security", b"max-age=63072000; includeSubDomains")


class Shield:
    """Pure ASGI, around everything else."""

    def __init__(self, app: ASGIApp, addresses: Addresses) -> None:
        self._app, self._addresses = app, addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def shielded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {
                    **message,
                    "headers": self._headers(scope, message.get("headers", [])),
                }
            await send(message)

        await self._app(scope, receive, shielded)

    def _headers(
        self, scope: Scope, given: list[tuple[bytes, bytes]]
    ) -> list[tuple[bytes, bytes]]:
        names = {name.lower() for name, _ in given}
        headers = [
            *given,
            *((name, value) for name, value in USUAL.items() if name not in names),
        ]
        if is_guarded(scope["path"]):  # answers about somebody are nobody else's
            headers = [pair for pair in headers if pair[0].lower() != NO_STORE[0]] + [
                NO_STORE
            ]
        if self._addresses.is_https(scope):
            headers.append(HSTS)
        if {name for name, _ in scope["headers"]} >= AMBIGUOUS:
            headers.append(CLOSE)
        return headers
