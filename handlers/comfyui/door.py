"""The door before ComfyUI's addresses: who asks, and whether it may.

A key comes in the `Authorization` header or, where the setting allows it, in the query
as `token`, for clients that can send no header. With the setting `none` whoever is on
this machine is admitted, as the user `anonymous`; a page of another site that runs in a
browser of this machine is not.
"""

from __future__ import annotations

import re
from functools import partial
from ipaddress import ip_address
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from handlers.comfyui import errors
from handlers.comfyui.desk import Desk
from handlers.http.api.services import Services
from handlers.http.auth.cookies import Cookies
from handlers.http.auth.guard import Guard
from handlers.http.auth.identification import Identification
from handlers.http.auth.principal import Principal
from handlers.http.auth.shares import Shares
from handlers.http.problems import Problem
from shared.errors import DarkroomError, SettingsError
from shared.runtime.settings import Settings
from shared.uploads import identity

SCOPES = frozenset({"upload", "read", "delete"})
TOKEN = "token"  # noqa: S105 - the name of a field
FORWARDED = (b"x-forwarded-for", b"forwarded", b"x-real-ip")


class Door:
    """Pure ASGI. Raises `SettingsError` where the setting would admit strangers."""

    def __init__(self, app: ASGIApp, api: Services, guard: Guard) -> None:
        settings = api.ctx.settings
        _check(settings)
        self._app = app
        self._api = api
        self._mode = settings.comfyui
        self._is_open = settings.allow_anonymous
        self._addresses = guard.addresses
        self._limits = guard.limits
        self._cookies = Cookies(settings, guard.addresses)
        self._identification = Identification(
            api.ctx, guard.limits, guard.keys, self._cookies
        )
        self._anyone = _anyone(settings)
        self._shares = Shares()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._admit(scope, receive, send)
        except Problem as problem:
            refusal = errors.response(errors.of_problem(problem))
            await _refuse(refusal, scope, receive, send)
        except DarkroomError as error:
            refusal = errors.response(errors.of_error(error))
            await _refuse(refusal, scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = self._addresses.of(scope)
        principal = await self._principal(scope, address)
        limits = self._limits
        await limits.run(limits.admit, principal, address)
        count = partial(limits.count_upload, principal, address)
        desk = Desk(self._api, principal, count)
        # The very scope goes on, from which the route is read afterwards.
        scope["state"] = {**scope.get("state", {}), "desk": desk}
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        async with self._shares.of(principal.user_hash, scope["path"]):
            await self._app(scope, receive, _unstored(send))

    async def _principal(self, scope: Scope, address: str) -> Principal:
        """Raises `Problem` 401, 403, 421 and 429."""
        if self._mode == "none":
            self._check_here(scope, address)
            return self._anyone
        # A cookie is a browser's, which sends it whoever's page is shown.
        headers = [pair for pair in scope["headers"] if pair[0] != b"cookie"]
        if self._mode == "query":
            scope, token = _without_token(scope)
            if token is not None:
                bearer = (b"authorization", b"Bearer " + token.encode())
                headers = [pair for pair in headers if pair[0] != bearer[0]]
                headers.append(bearer)
        if not any(name == b"authorization" for name, _ in headers):
            detail = "this address needs `Authorization: Bearer …` with an API key or a token"
            if self._mode == "query":
                detail += ", or the key as ?token=…"
            header = {"WWW-Authenticate": "Bearer"}
            raise Problem(401, detail, "unauthorized", header)
        return await self._identification.principal_of(
            {**scope, "headers": headers}, address
        )

    def _check_here(self, scope: Scope, address: str) -> None:
        """Raises `Problem` for whoever is not on this machine, and for a page of
        another site.
        """
        if not self._is_open:
            names = {name for name, _ in scope["headers"]}
            if not _is_loopback(address) or names.intersection(FORWARDED):
                detail = "without a key only this machine itself may ask; DARKROOM_ALLOW_ANONYMOUS admits others"
                raise Problem(401, detail, "unauthorized")
            self._cookies.check_host(scope)
        if _is_of_another_page(scope):
            raise Problem(403, "another page sent this request", "other_origin")


def _check(settings: Settings) -> None:
    """Raises `SettingsError`."""
    if settings.comfyui != "none" or settings.allow_anonymous:
        return
    if not _is_loopback(settings.api_host):
        detail = "DARKROOM_COMFYUI=none needs DARKROOM_API_HOST=127.0.0.1, or DARKROOM_ALLOW_ANONYMOUS=true"
        raise SettingsError(detail)


def _anyone(settings: Settings) -> Principal:
    pepper = settings.pepper.get_secret_value().encode()
    user_hash = identity.user_hash(identity.ANONYMOUS, pepper)
    return Principal(
        user_hash, operator=False, scopes=SCOPES, key_id=identity.ANONYMOUS
    )


def _without_token(scope: Scope) -> tuple[Scope, str | None]:
    """The scope without the key in its query, and the key. Raises `Problem` 401."""
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    tokens = query.pop(TOKEN, [])
    if len(tokens) > 1:
        raise Problem(401, "two tokens in the query", "unauthorized")
    if not tokens:
        return scope, None
    if not re.fullmatch(r"[\x21-\x7e]+", tokens[0]):
        raise Problem(401, "the token in the query is no key", "unauthorized")
    scope["query_string"] = urlencode(query, doseq=True).encode()
    return scope, tokens[0]


def _is_of_another_page(scope: Scope) -> bool:
    """Whether a browser says that another site's page asks. Programs say nothing."""
    headers = Headers(scope=scope)
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")


def _is_loopback(address: str) -> bool:
    # Of a client over IPv6 only the network is known, and in this one is only `::1`.
    if address in ("localhost", "::/64"):
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _unstored(send: Send) -> Send:
    """What is answered to one user must not come out of a cache for another."""

    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", []), (b"cache-control", b"no-store")]
            message = {**message, "headers": headers}
        await send(message)

    return add


async def _refuse(
    refusal: Response, scope: Scope, receive: Receive, send: Send
) -> None:
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(refusal)
        return
    await refusal(scope, receive, _unstored(send))
