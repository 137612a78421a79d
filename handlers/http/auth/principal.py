"""Who asks, and what that allows: what the key or the token said, and no more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Depends

from handlers.http.problems import Problem

SCOPES = frozenset({"upload", "read", "delete", "admin"})
"""`upload`: new photos and previews. `read`: states and results. `delete`: cancel and
erase. `admin`: all of it.
"""


@dataclass(frozen=True)
class Caller:
    """The operator sees everybody's tasks, everyone else only those of their own
    `user_hash`.
    """

    user_hash: str
    operator: bool
    scopes: frozenset[str]
    key_id: str
    callback: str | None = None
    """Who is told of the end of uploads that name nobody."""

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes

    def sees(self, user_hash: str | None) -> bool:
        """May this caller know of what belongs to `user_hash`?"""
        return self.operator or user_hash == self.user_hash


Authenticate = Callable[..., Caller | Awaitable[Caller]]
"""A dependency that says who asks, or raises the `Problem` 401."""


def needs(scope: str, authenticate: Authenticate) -> Any:
    """The default of a route's `caller`: whoever asks and has `scope`; 403 to others."""
    who = Depends(authenticate)

    async def check(caller: Caller = who) -> Caller:
        if not caller.may(scope):
            raise Problem(
                403,
                f"this key may not do that: it lacks the scope {scope!r}",
                "forbidden",
            )
        return caller

    return Depends(check)
