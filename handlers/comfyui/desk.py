"""What the routes share: the services of the API, and one caller's view of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from starlette.requests import HTTPConnection

from handlers.comfyui.shelf import Shelf
from handlers.context import Context
from handlers.http.api.services import Services
from handlers.http.auth.principal import Principal
from handlers.http.problems import Problem


@dataclass(frozen=True)
class Desk:
    """One admitted caller. `count_upload` counts one photo of so many bytes, and raises
    `Problem` 429.
    """

    api: Services
    principal: Principal
    count_upload: Callable[[int], None]

    @property
    def ctx(self) -> Context:
        return self.api.ctx

    @cached_property
    def shelf(self) -> Shelf:
        return Shelf(self.ctx.store, self.ctx.settings, self.principal.user_hash)

    def need(self, scope: str) -> None:
        """Raises `Problem` 403 where the caller's key lacks a scope."""
        if not self.principal.may(scope):
            detail = f"this key may not do that: it lacks the scope {scope!r}"
            raise Problem(403, detail, "forbidden")


def desk_of(connection: HTTPConnection, scope: str) -> Desk:
    """The desk that the door gave a connection. Raises `Problem` 401 and 403."""
    found = getattr(connection.state, "desk", None)
    if not isinstance(found, Desk):
        raise Problem(401, "this address needs a key", "unauthorized")
    found.need(scope)
    return found
