"""Who stands before `/v1`: found out before a byte of the body is read, and before any
route is looked for.
"""

from __future__ import annotations

import asyncio
from functools import partial
from hmac import compare_digest

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handlers.context import Context
from handlers.http import problems
from handlers.http.auth.address import Addresses
from handlers.http.auth.keys import KeyRing
from handlers.http.auth.limits import Headers, Limits
from handlers.http.auth.principal import SCOPES, Caller
from handlers.http.auth.shares import Shares
from handlers.http.auth.tokens import InvalidToken, Tokens
from handlers.http.problems import Problem
from shared import access
from shared.errors import DarkroomError
from shared.uploads import identity

BODY_S = 30
"""Longest time in which a request's body must arrive."""


class Gate:
    """Pure ASGI. A request that passes has its `Caller`, `Limits.announce` and
    `Limits.look_ahead` in its state.
    """

    def __init__(
        self, app: ASGIApp, ctx: Context, limits: Limits, addresses: Addresses
    ) -> None:
        self._app, self._limits, self._addresses = app, limits, addresses
        self._who = Identification(ctx, limits)
        self._max_bytes = ctx.settings.max_request_bytes
        self._shares = Shares()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_guarded(scope["path"]):
            await self._app(scope, receive, send)
            return
        address = self._addresses.of(scope)
        try:
            caller = await self._who.asks(scope, address)
            headers = self._limits.admit(caller, address)
            receive = await _read(scope, receive, self._max_bytes)
        except Problem as problem:
            await problems.response(problem)(scope, receive, send)
            return
        except DarkroomError as error:
            await problems.response(problems.of_error(error))(scope, receive, send)
            return
        announce = partial(self._limits.announce, caller, address)
        look_ahead = partial(self._limits.look_ahead, caller, address)
        state = {"caller": caller, "announce": announce, "look_ahead": look_ahead}
        scope = {**scope, "state": {**scope.get("state", {}), **state}}
        try:
            async with self._shares.of(caller.user_hash, scope["path"]):
                await self._app(
                    scope, receive, _adding(headers, send) if headers else send
                )
        except Problem as problem:  # of the share: the app answers its own
            await problems.response(problem)(scope, receive, send)


class Identification:
    """The operator's key, an API key or a token → the caller."""

    def __init__(self, ctx: Context, limits: Limits) -> None:
        settings = ctx.settings
        pepper = settings.pepper.get_secret_value().encode()
        self._clock, self._limits = ctx.clock, limits
        self._keys, self._tokens = KeyRing(ctx), Tokens(settings, ctx.clock)
        self._operators_key = settings.api_key.get_secret_value().encode()
        self._operator = Caller(
            identity.user_hash("operator", pepper), True, SCOPES, "operator"
        )
        anonymous = Caller(
            identity.user_hash(identity.ANONYMOUS, pepper),
            False,
            frozenset({"upload", "read"}),
            identity.ANONYMOUS,
        )
        self._anonymous = anonymous if settings.allow_anonymous else None

    async def asks(self, scope: Scope, address: str) -> Caller:
        """Raises `Problem` 401 and 429, and `TransientError` when it cannot be said
        now.
        """
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if not given and self._anonymous:
            return self._anonymous
        kind, _, text = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        text = text.strip()
        if kind.lower() != b"bearer" or not text:
            raise _unauthorized(
                "the API needs `Authorization: Bearer …` with an API key or a token", ""
            )
        if self._operators_key and compare_digest(text, self._operators_key):
            return self._operator
        try:
            return await self._named(text.decode("ascii", "replace"), address)
        except InvalidToken as error:
            self._limits.failed(address, str(error))
            raise _unauthorized(
                f"this key or token opens nothing: {error}", ' error="invalid_token"'
            ) from error

    async def _named(self, text: str, address: str) -> Caller:
        parsed = access.parse(text)
        if parsed is not None:
            return await self._of_key(*parsed, address)
        if self._tokens.accepted and text.count(".") == 2:
            return await self._tokens.caller(text)
        raise InvalidToken("it is unknown")

    async def _of_key(self, key_id: str, secret: str, address: str) -> Caller:
        if not self._keys.remembers(key_id) and not self._limits.may_guess(address):
            raise InvalidToken("it is unknown")
        found = await self._keys.find(key_id)
        if found is None or not found.opens(secret):
            raise InvalidToken("it is unknown")
        if fault := found.fault(self._clock.now()):
            raise InvalidToken(f"it is {fault}")
        return Caller(
            found.user_hash, False, frozenset(found.scopes), found.id, found.callback
        )


def is_guarded(path: str) -> bool:
    return path == "/v1" or path.startswith("/v1/")


def _unauthorized(detail: str, error: str) -> Problem:
    return Problem(401, detail, "unauthorized", {"WWW-Authenticate": f"Bearer{error}"})


async def _read(scope: Scope, receive: Receive, max_bytes: int) -> Receive:
    """The whole body, given up as soon as it is too large or too slow; what replays it."""
    headers = dict(scope["headers"])
    told = headers.get(b"content-length", b"")
    if told in (b"", b"0") and b"transfer-encoding" not in headers:
        return receive
    if told.isdigit() and int(told) > max_bytes:
        raise _too_large(max_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > max_bytes:
                    raise _too_large(max_bytes)
                if not message.get("more_body", False):
                    return _replaying({**message, "body": bytes(body)}, receive)
    except TimeoutError:
        raise Problem(
            408,
            f"the request did not arrive within {BODY_S} s",
            "slow",
            {"Connection": "close"},
        ) from None


def _too_large(max_bytes: int) -> Problem:
    return Problem(
        413,
        f"a request may have {max_bytes:,} bytes",
        "too_large",
        {"Connection": "close"},
    )


def _replaying(first: Message, receive: Receive) -> Receive:
    waiting = [first]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _adding(headers: Headers, send: Send) -> Send:
    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *headers]}
        await send(message)

    return add
