"""Who may ask, how much, and from where: what stands between the network and the
routes.
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Scope

from handlers.audit_log.database import AuditLog
from handlers.context import Context
from handlers.http.auth.address import Addresses
from handlers.http.auth.limits import Limits
from handlers.http.auth.middleware import Gate
from handlers.http.auth.security_headers import Shield
from shared.errors import SettingsError

METHODS = ("GET", "POST", "DELETE")
ASKED = ("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID")
TOLD = ("Location", "RateLimit", "RateLimit-Policy", "Retry-After")


Failed = Callable[[Scope, str], None]
"""Counts a wrong key of this request's sender, for this reason; raises `Problem` 429
once there were too many.
"""


def install(app: FastAPI, ctx: Context) -> Failed:
    """Guard `app`; what other doors beside `/v1` tell of wrong keys. Raises
    `SettingsError`.
    """
    settings = ctx.settings
    addresses = Addresses(settings.trusted_proxies)
    limits = Limits(settings, ctx.clock, AuditLog(settings).waiting)
    app.add_middleware(Gate, ctx, limits, addresses)
    origins, inner = _origins(settings.cors_origins), app.build_middleware_stack

    def stack() -> ASGIApp:
        """Outside even of what answers our own bugs: that answer needs the headers,
        too.
        """
        guarded: ASGIApp = inner()
        if origins:
            guarded = CORSMiddleware(
                guarded,
                allow_origins=origins,
                allow_methods=METHODS,
                allow_headers=ASKED,
                expose_headers=TOLD,
            )
        return Shield(guarded, addresses)

    app.build_middleware_stack = stack  # type: ignore[method-assign]
    return lambda scope, reason: limits.failed(addresses.of(scope), reason)


def _origins(setting: str) -> list[str]:
    origins = [part.strip() for part in setting.split(",") if part.strip()]
    for origin in origins:
        if origin != "*" and not (
            origin.startswith(("https://", "http://")) and origin.count("/") == 2
        ):
            raise SettingsError(
                f"DARKROOM_CORS_ORIGINS: {origin!r} is not an origin such as https://app.example"
            )
    return origins
