"""What routes depend on: the principal with a scope, the limits, and the services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from handlers.http.api.services import Services
from handlers.http.auth.middleware import Admitted
from handlers.http.auth.principal import Principal
from handlers.http.problems import Problem

_bearer = HTTPBearer(
    auto_error=False,
    description="An API key (`darkroom keys create`), a token (JWT) of the configured issuer, or the operator's key.",
)
BearerCredential = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def services(request: Request) -> Services:
    """The services of this app, which `install` put there."""
    found: Services = request.app.state.api
    return found


async def admitted(
    request: Request,
    _: BearerCredential = None,
) -> Admitted:
    """The request as `AuthMiddleware` admitted it.

    Raises `Problem` 401 where no middleware stands before the route: it is closed then.
    """
    found = getattr(request.state, "admitted", None)
    if not isinstance(found, Admitted):
        detail = "the API needs `Authorization: Bearer …` with an API key or a token"
        raise Problem(401, detail, "unauthorized", {"WWW-Authenticate": "Bearer"})
    return found


CurrentRequest = Annotated[Admitted, Depends(admitted)]


def needs(scope: str) -> Any:
    """A dependency: the principal, who has `scope`. Raises `Problem` 403 otherwise."""

    async def check(request: CurrentRequest) -> Principal:
        principal = request.principal
        if not principal.may(scope):
            detail = f"this key may not do that: it lacks the scope {scope!r}"
            raise Problem(403, detail, "forbidden")
        return principal

    return Depends(check)


async def operator(request: CurrentRequest) -> Principal:
    """The operator. Raises `Problem` 403 for everybody else, whatever their scopes."""
    if not request.principal.operator:
        detail = "only the operator may see or do that; sign in by `darkroom console`"
        raise Problem(403, detail, "forbidden")
    return request.principal


async def upload_counter(request: CurrentRequest) -> Callable[[int], None]:
    return request.count_upload


async def preview_counter(request: CurrentRequest) -> Callable[[int], None]:
    return request.count_preview


Api = Annotated[Services, Depends(services)]
Uploader = Annotated[Principal, needs("upload")]
Reader = Annotated[Principal, needs("read")]
Remover = Annotated[Principal, needs("delete")]
CountUpload = Annotated[Callable[[int], None], Depends(upload_counter)]
"""Counts one upload of so many bytes. Raises `Problem` 429."""
CountPreview = Annotated[Callable[[int], None], Depends(preview_counter)]
"""Counts one preview of so many pixels. Raises `Problem` 429."""
