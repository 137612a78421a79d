"""Puts authentication, limits, CORS and security headers around an app."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Scope

from handlers.audit_log.database import AuditLog
from handlers.context import Context
from handlers.http.auth.address import Addresses
from handlers.http.auth.keys import KeyRing
from handlers.http.auth.limit_store import LimitStore
from handlers.http.auth.limits import Limits
from handlers.http.auth.middleware import AuthMiddleware
from handlers.http.auth.security_headers import SecurityHeaders
from shared.errors import SettingsError

METHODS = ("GET", "POST", "DELETE")
REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "X-Request-Id",
)
RESPONSE_HEADERS = (
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-Id",
)


@dataclass(frozen=True)
class Guard:
    """What stands before an app, for the endpoints outside `/v1` that check keys or
    links of their own.
    """

    addresses: Addresses
    limits: Limits
    keys: KeyRing

    async def may_guess(self, scope: Scope) -> bool:
        """Whether the client's address has not tried too many wrong keys."""
        address = self.addresses.of(scope)
        return await self.limits.run(self.limits.may_guess, address)

    async def record_failure(
        self,
        scope: Scope,
        reason: str,
    ) -> None:
        address = self.addresses.of(scope)
        await self.limits.run(self.limits.record_failure, address, reason)


def install(app: FastAPI, ctx: Context) -> Guard:
    """Guard `app`. Raises `SettingsError`."""
    settings = ctx.settings
    addresses = Addresses(settings.trusted_proxies)
    count = AuditLog(settings).waiting
    limits = Limits(settings, ctx.clock, count, LimitStore.of(settings))
    keys = KeyRing(ctx)
    app.add_middleware(AuthMiddleware, ctx, limits, addresses, keys)
    _put_outermost(app, _origins(settings.cors_origins), addresses)
    return Guard(addresses, limits, keys)


def _put_outermost(
    app: FastAPI,
    origins: list[str],
    addresses: Addresses,
) -> None:
    """CORS and security headers, outside even of the middleware that answers bugs: its
    response needs the headers as well.
    """
    build_inner = app.build_middleware_stack

    def build_stack() -> ASGIApp:
        stack: ASGIApp = build_inner()
        if origins:
            stack = CORSMiddleware(
                stack,
                allow_origins=origins,
                allow_methods=METHODS,
                allow_headers=REQUEST_HEADERS,
                expose_headers=RESPONSE_HEADERS,
            )
        return SecurityHeaders(stack, addresses)

    app.build_middleware_stack = build_stack  # type: ignore[method-assign]


def _origins(setting: str) -> list[str]:
    """The origins of a list by commas. Raises `SettingsError`."""
    origins = [part.strip() for part in setting.split(",") if part.strip()]
    for origin in origins:
        if not _is_origin(origin):
            detail = f"DARKROOM_CORS_ORIGINS: {origin!r} is not an origin such as https://app.example"
            raise SettingsError(detail)
    return origins


def _is_origin(text: str) -> bool:
    if text == "*":
        return True
    return text.startswith(("https://", "http://")) and text.count("/") == 2
