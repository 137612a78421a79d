"""The middleware before `/v1` and `/iiif`: it authenticates a request before a byte of the body is
read and before any route is looked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handlers.context import Context
from handlers.http import problems
from handlers.http.auth.address import Addresses
from handlers.http.auth.cookies import Cookies
from handlers.http.auth.identification import Identification
from handlers.http.auth.keys import KeyRing
from handlers.http.auth.limits import Headers, Limits
from handlers.http.auth.principal import Principal
from handlers.http.auth.shares import Shares
from handlers.http.problems import Problem
from handlers.http.request_body import has_body, read_body
from shared.errors import DarkroomError

API = "/v1"
GUARDED = (API, "/iiif")
LINKS = "/iiif/t/"
"""What is there is opened by the link itself, which its routes read."""


@dataclass(frozen=True)
class Admitted:
    """An admitted request, found by its route as `request.state.admitted`.

    `count_upload(bytes)` and `count_preview(pixels)` count one upload or preview
    against the principal's limits. They may block for a moment, and raise `Problem`
    429.
    """

    principal: Principal
    count_upload: Callable[[int], None]
    count_preview: Callable[[int], None]


class AuthMiddleware:
    """Pure ASGI. Routes outside `GUARDED` pass through."""

    def __init__(
        self,
        app: ASGIApp,
        ctx: Context,
        limits: Limits,
        addresses: Addresses,
        keys: KeyRing | None = None,
    ) -> None:
        self._app = app
        self._limits = limits
        self._addresses = addresses
        keys = keys or KeyRing(ctx)
        cookies = Cookies(ctx.settings, addresses)
        self._identification = Identification(ctx, limits, keys, cookies)
        self._max_bytes = ctx.settings.max_request_bytes
        self._shares = Shares()

    async def __call__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        if scope["type"] != "http" or not is_guarded(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            await self._guarded(scope, receive, send)
        except Problem as problem:
            await problems.response(problem)(scope, receive, send)
        except DarkroomError as error:
            await problems.response(problems.of_error(error))(scope, receive, send)

    async def _guarded(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Raises `Problem` and `DarkroomError` for a refusal. What the app refuses is
        answered by the app.
        """
        address = self._addresses.of(scope)
        principal = await self._identification.principal_of(scope, address)
        limits = self._limits
        headers = await limits.run(limits.admit, principal, address)
        if has_body(scope):
            body = await read_body(scope, receive, self._max_bytes)
            receive = _replaying(body, receive)
        scope = self._with_state(scope, principal, address)
        async with self._shares.of(principal.user_hash, scope["path"]):
            await self._app(scope, receive, _adding(headers, send))

    def _with_state(
        self,
        scope: Scope,
        principal: Principal,
        address: str,
    ) -> Scope:
        admitted = Admitted(
            principal,
            partial(self._limits.count_upload, principal, address),
            partial(self._limits.count_preview, principal, address),
        )
        state = {**scope.get("state", {}), "admitted": admitted}
        return {**scope, "state": state}


def is_guarded(path: str) -> bool:
    if path.startswith(LINKS):
        return False
    return any(path == each or path.startswith(f"{each}/") for each in GUARDED)


def _replaying(body: bytes, receive: Receive) -> Receive:
    """Messages that begin with the body, which was read already."""
    unread: list[Message] = [{"type": "http.request", "body": body}]

    async def replay() -> Message:
        return unread.pop() if unread else await receive()

    return replay


def _adding(headers: Headers, send: Send) -> Send:
    """Adds headers to the response."""
    if not headers:
        return send

    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *headers]}
        await send(message)

    return add
