"""Finds the principal of a request by its `Authorization` header, or by the cookie of a
session.
"""

from __future__ import annotations

from contextlib import suppress
from hmac import compare_digest
from typing import Literal

from starlette.types import Scope

from handlers.context import Context
from handlers.http.auth.cookies import Cookies
from handlers.http.auth.keys import KeyRing
from handlers.http.auth.limits import Limits
from handlers.http.auth.principal import SCOPES, Principal
from handlers.http.auth.tokens import InvalidToken, Tokens
from handlers.http.problems import Problem
from shared import access
from shared.runtime.settings import AccessSettings
from shared.uploads import identity

UNKNOWN = "it is unknown"
ANONYMOUS_SCOPES = frozenset({"upload", "read"})


class Identification:
    """Knows the operator's key, API keys, sessions and tokens."""

    def __init__(
        self,
        ctx: Context,
        limits: Limits,
        keys: KeyRing,
        cookies: Cookies,
    ) -> None:
        settings = ctx.settings
        api_key = settings.api_key.get_secret_value()
        self._clock = ctx.clock
        self._limits = limits
        self._keys = keys
        self._cookies = cookies
        self._tokens = Tokens(settings, ctx.clock)
        self._operators_key = api_key.encode()
        self._operator = _operator(settings)
        self._anonymous: Principal | None = None
        if settings.allow_anonymous:
            self._anonymous = _anonymous(settings)

    async def principal_of(
        self,
        scope: Scope,
        address: str,
    ) -> Principal:
        """Raises `Problem` 401 and 429, and `TransientError` while it cannot be said
        whether a key is good.
        """
        headers = [
            value for name, value in scope["headers"] if name == b"authorization"
        ]
        session = None if headers else self._cookies.credential(scope)
        if session is not None:
            return await self._of_session(session, address)
        if not headers and self._anonymous:
            return self._anonymous
        credential = _bearer_of(headers)
        if self._operators_key and compare_digest(credential, self._operators_key):
            return self._operator
        try:
            text = credential.decode("ascii", "replace")
            return await self._of_credential(text, address)
        except InvalidToken as error:
            await self._record_failure(address, str(error))
            detail = f"this key or token opens nothing: {error}"
            raise _unauthorized(detail, ' error="invalid_token"') from error

    async def _of_session(
        self,
        text: str,
        address: str,
    ) -> Principal:
        """Raises `Problem` 401. A session that has ended is no guess at a key."""
        parsed = access.parse(text)
        if parsed is not None:
            with suppress(InvalidToken):
                return await self._of_key(*parsed, address, kind="session")
        detail = "the session has ended; ask for a new link with `darkroom console`"
        raise Problem(401, detail, "signed_out", {"WWW-Authenticate": "Bearer"})

    async def _of_credential(
        self,
        text: str,
        address: str,
    ) -> Principal:
        parsed = access.parse(text)
        if parsed is not None:
            key_id, secret = parsed
            return await self._of_key(key_id, secret, address)
        if self._tokens.accepted and text.count(".") == 2:
            return await self._tokens.principal(text)
        raise InvalidToken(UNKNOWN)

    async def _of_key(
        self,
        key_id: str,
        secret: str,
        address: str,
        kind: Literal["key", "session"] = "key",
    ) -> Principal:
        if not self._keys.remembers(key_id):
            await self._check_may_guess(address)
        key = await self._keys.find(key_id)
        if key is None or key.kind != kind or not key.opens(secret):
            raise InvalidToken(UNKNOWN)
        fault = key.fault(self._clock.now())
        if fault:
            raise InvalidToken(f"it is {fault}")
        return Principal(
            user_hash=key.user_hash,
            operator=key.operator and key.kind == "session",
            scopes=frozenset(key.scopes),
            key_id=key.id,
            callback=key.callback,
        )

    async def _check_may_guess(self, address: str) -> None:
        """Raises `InvalidToken` for an address that tried too many wrong keys."""
        limits = self._limits
        if not await limits.run(limits.may_guess, address):
            raise InvalidToken(UNKNOWN)

    async def _record_failure(
        self,
        address: str,
        reason: str,
    ) -> None:
        limits = self._limits
        await limits.run(limits.record_failure, address, reason)


def _bearer_of(headers: list[bytes]) -> bytes:
    """The credential of the one `Authorization: Bearer …`. Raises `Problem` 401.

    Two such headers are refused: two readers could see two principals in them.
    """
    value = headers[0] if len(headers) == 1 else b""
    scheme, _, credential = value.partition(b" ")
    credential = credential.strip()
    if scheme.lower() != b"bearer" or not credential:
        detail = "the API needs `Authorization: Bearer …` with an API key or a token"
        raise _unauthorized(detail)
    return credential


def _unauthorized(detail: str, error: str = "") -> Problem:
    headers = {"WWW-Authenticate": f"Bearer{error}"}
    return Problem(401, detail, "unauthorized", headers)


def _operator(settings: AccessSettings) -> Principal:
    return Principal(
        user_hash=_user_hash("operator", settings),
        operator=True,
        scopes=SCOPES,
        key_id="operator",
    )


def _anonymous(settings: AccessSettings) -> Principal:
    return Principal(
        user_hash=_user_hash(identity.ANONYMOUS, settings),
        operator=False,
        scopes=ANONYMOUS_SCOPES,
        key_id=identity.ANONYMOUS,
    )


def _user_hash(name: str, settings: AccessSettings) -> str:
    pepper = settings.pepper.get_secret_value().encode()
    return identity.user_hash(name, pepper)
