"""Who asks, and what that allows: what the key or the token said, and no more."""

from __future__ import annotations

from dataclasses import dataclass

SCOPES = frozenset({"upload", "read", "delete", "admin"})
"""`upload`: new photos and previews. `read`: states and results. `delete`: cancel and erase. `admin`: all of it."""


@dataclass(frozen=True)
class Caller:
    """The operator sees everybody's tasks, everyone else only those of their own `user_hash`."""

    user_hash: str
    operator: bool
    scopes: frozenset[str]
    key_id: str

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes

    def sees(self, user_hash: str | None) -> bool:
        """May this caller know of what belongs to `user_hash`?"""
        return self.operator or user_hash == self.user_hash
