"""Who may ask: `handlers.http.auth` found out at the gate, here the routes hear of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from handlers.http.auth.principal import Caller
from handlers.http.problems import Problem

_bearer = HTTPBearer(
    auto_error=False,
    description="An API key (`darkroom keys create`), a token (JWT) of the configured issuer, or the operator's key.",
)


async def authenticate(
    request: Request,
    _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)] = None,
) -> Caller:
    """The caller whom the gate let in. Where no gate stands before a route, it is
    closed.
    """
    caller = getattr(request.state, "caller", None)
    if not isinstance(caller, Caller):
        detail = "the API needs `Authorization: Bearer …` with an API key or a token"
        raise Problem(401, detail, "unauthorized", {"WWW-Authenticate": "Bearer"})
    return caller


async def looker(request: Request) -> Callable[[int], None]:
    """Counts one preview of so many pixels against the caller's limits; raises
    `Problem` 429.
    """
    look_ahead: Callable[[int], None] = request.state.look_ahead
    return look_ahead


async def announcer(request: Request) -> Callable[[int], None]:
    """Counts one photo of so many bytes against the caller's limits; raises `Problem`
    429.
    """
    announce: Callable[[int], None] = request.state.announce
    return announce
