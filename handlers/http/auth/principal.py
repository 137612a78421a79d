"""The principal of a request: on whose behalf it is made, and what that allows."""

from __future__ import annotations

from dataclasses import dataclass

SCOPES = frozenset({"upload", "read", "delete", "admin"})
"""`upload`: new photos and previews. `read`: states and results. `delete`: cancel and
erase. `admin`: all of it.
"""


@dataclass(frozen=True)
class Principal:
    """A user or the operator, as the key or the token of a request has it.

    The operator sees the tasks of all users, everyone else those of their own
    `user_hash`. `callback` is the URL of the webhook for uploads that name none.
    """

    user_hash: str
    operator: bool
    scopes: frozenset[str]
    key_id: str
    callback: str | None = None

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes

    def sees(self, user_hash: str | None) -> bool:
        """Whether this principal may know of what belongs to `user_hash`."""
        return self.operator or user_hash == self.user_hash
