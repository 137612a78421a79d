"""API keys: what they look like, and what is kept of them.

A key is `drk_{id}_{secret}`. The bucket holds a document under its id with the SHA-256
of the secret, never the secret. A slow hash (argon2, bcrypt) protects what people think
up; these are 256 random bits, which no search finds, and a fast hash allows to check
every request.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime
from hmac import compare_digest
from typing import Literal

from shared.uploads.documents import Document

Scope = Literal["upload", "read", "delete", "admin"]
USUAL: tuple[Scope, ...] = ("upload", "read", "delete")
"""The scopes of a key that names none: everything with photos of its user's own."""

PREFIX = "keys/"
_KEY = re.compile(r"drk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})", re.ASCII)
_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)


class ApiKey(Document):
    """`keys/{id}.json` in the bucket for access. `hash`: SHA-256 of the secret, 64 hex
    digits.
    """

    id: str
    hash: str
    user_hash: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    callback: str | None = None
    """The URL of the webhook for uploads that name none themselves."""
    kind: Literal["key", "session"] = "key"
    """A session counts only as the cookie of a page, and a key never does."""
    operator: bool = False
    """A session of the operator's, who sees everybody's photos."""

    def opens(self, secret: str) -> bool:
        """Whether this is the secret; compared in constant time."""
        return compare_digest(_hash(secret), self.hash)

    def fault(self, now: datetime) -> Literal["revoked", "expired"] | None:
        """Why the key is no longer good; None while it is."""
        if self.revoked_at is not None and self.revoked_at <= now:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return None


def mint(
    user_hash: str,
    scopes: tuple[Scope, ...],
    now: datetime,
    expires_at: datetime | None = None,
    callback: str | None = None,
) -> tuple[str, ApiKey]:
    """A new key, which is shown once, and the document that stays."""
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    document = ApiKey(
        id=key_id,
        hash=_hash(secret),
        user_hash=user_hash,
        scopes=scopes,
        created_at=now,
        expires_at=expires_at,
        callback=callback,
    )
    return f"drk_{key_id}_{secret}", document


def session_place(user_hash: str, key_id: str = "") -> str:
    """The mark by which a user's sessions are found; their prefix without an id."""
    return f"sessions/{user_hash}/{key_id}"


def parse(text: str) -> tuple[str, str] | None:
    """Id and secret of a key; None for what cannot be one."""
    found = _KEY.fullmatch(text)
    return (found[1], found[2]) if found else None


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def place(key_id: str) -> str:
    """The object's name in the bucket for access."""
    return f"{PREFIX}{key_id}.json"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
