"""Routes that lead to an object in a bucket, by a signed link."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter
from fastapi.types import DecoratedCallable
from starlette.responses import RedirectResponse

from handlers.http.api.responses import refusals

LINK_S = 300
"""How long a link is good."""


def link(
    router: APIRouter, path: str
) -> Callable[[DecoratedCallable], DecoratedCallable]:
    """The decorator of a route that answers with a link, or that there is no such thing."""
    return router.get(
        path,
        status_code=307,
        response_class=RedirectResponse,
        responses=refusals(404),
    )
