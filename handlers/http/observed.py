"""Counts and times every request, traces it, and gives each an id that stands in its log
lines and its response.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from time import monotonic
from uuid import uuid4

import structlog
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handlers import metrics
from handlers.http.auth.middleware import API, is_guarded
from shared.runtime import tracing

ID_HEADER = "X-Request-Id"
SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""An id that a client or a proxy chose is taken over if it is as plain as this."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_ROUTE = "none"
"""Value of the label `route` where none was found, or the request was refused before
one was looked for.
"""
SEEN = "darkroom.seen"
PROBES = frozenset({"/healthz", "/readyz"})
"""Asked every few seconds, and never traced."""


@dataclass
class _Seen:
    """What is learned of a request while it is answered; `response_s`: when the
    response began (monotonic).
    """

    route: str = NO_ROUTE
    status: int = 500
    response_s: float | None = None


def note_routes(app: FastAPI) -> None:
    """Have requests tell their route; to be called before any other middleware is
    added, as only what is next to the routes learns it.
    """
    app.add_middleware(_RouteNote)


def install(app: FastAPI) -> None:
    """Observe `app`; to be called after all other middleware was added."""
    build_inner = app.build_middleware_stack

    def build_stack() -> ASGIApp:
        return _Observed(build_inner())

    app.build_middleware_stack = build_stack  # type: ignore[method-assign]


class _RouteNote:
    """Pure ASGI, inside of everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            _note(scope)


def _note(scope: Scope) -> None:
    """Keep the pattern of the route that the request went to, if it went to any.

    A route knows its pattern without the prefix of the router that it stands in.
    """
    seen = scope.get(SEEN)
    route = getattr(scope.get("route"), "path", None)
    if seen is None or route is None:
        return
    is_whole = not is_guarded(scope["path"]) or is_guarded(route)
    seen.route = route if is_whole else API + route


class _Observed:
    """Pure ASGI, around everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = _Seen()
        request_id = _request_id(scope)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                seen.response_s = monotonic()
                own = (ID_HEADER.lower().encode(), request_id.encode())
                message = {**message, "headers": [*message.get("headers", []), own]}
            await send(message)

        began_s = monotonic()
        try:
            with structlog.contextvars.bound_contextvars(request_id=request_id):
                await self._traced({**scope, SEEN: seen}, receive, watched)
        finally:
            _count(scope["method"], seen, began_s)

    async def _traced(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        parent = Headers(scope=scope).get(tracing.HEADER)
        with tracing.span("http", parent, serves=True):
            try:
                await self._app(scope, receive, send)
            finally:
                _describe(scope["method"], scope[SEEN])


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(ID_HEADER, "")
    return given if SAFE_ID.fullmatch(given) else uuid4().hex


def _describe(method: str, seen: _Seen) -> None:
    """Say in the span what OpenTelemetry's conventions ask for; of the address the
    route alone, as ids of people's photos may stand in it.
    """
    known = _known(method)
    facts: dict[str, str | int] = {
        "http.request.method": known,
        "http.route": seen.route,
        "http.response.status_code": seen.status,
    }
    tracing.describe(f"{known} {seen.route}", facts)


def _known(method: str) -> str:
    return method if method in METHODS else "other"


def _count(method: str, seen: _Seen, began_s: float) -> None:
    known = _known(method)
    ended_s = monotonic() if seen.response_s is None else seen.response_s
    metrics.REQUESTS.labels(
        method=known, route=seen.route, status=str(seen.status)
    ).inc()
    metrics.REQUEST_SECONDS.labels(method=known, route=seen.route).observe(
        ended_s - began_s
    )
