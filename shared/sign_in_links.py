"""One-time links by which a person signs in to the console.

A link ends in `#{id}.{secret}`: what stands behind `#` reaches no server, no proxy's log
and no `Referer`, and a program that previews links does not use it up. The bucket for
access holds a document under the id with the SHA-256 of the secret.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from hmac import compare_digest

from shared.access import Scope
from shared.uploads.documents import Document

LASTS = timedelta(minutes=10)
PREFIX = "links/"
_TOKEN = re.compile(r"([0-9a-f]{16})\.([A-Za-z0-9_-]{43})", re.ASCII)


class SignInLink(Document):
    """`links/{id}.json` in the bucket for access. `hash`: SHA-256 of the secret, 64 hex
    digits. `operator`: who signs in sees everybody's photos.
    """

    id: str
    hash: str
    user_hash: str
    scopes: tuple[Scope, ...]
    expires_at: datetime
    operator: bool = False

    def opens(self, secret: str) -> bool:
        """Whether this is the secret; compared in constant time."""
        return compare_digest(_hash(secret), self.hash)


def mint(
    user_hash: str,
    scopes: tuple[Scope, ...],
    now: datetime,
    operator: bool = False,
) -> tuple[str, SignInLink]:
    """A new link's token, which is shown once, and the document that stays."""
    link_id = secrets.token_hex(8)
    secret = secrets.token_urlsafe(32)
    document = SignInLink(
        id=link_id,
        hash=_hash(secret),
        user_hash=user_hash,
        scopes=scopes,
        expires_at=now + LASTS,
        operator=operator,
    )
    return f"{link_id}.{secret}", document


def parse(token: str) -> tuple[str, str] | None:
    """Id and secret of a token; None for what cannot be one."""
    found = _TOKEN.fullmatch(token)
    return (found[1], found[2]) if found else None


def place(link_id: str) -> str:
    """The document's name in the bucket for access."""
    return f"{PREFIX}{link_id}.json"


def used_place(link_id: str) -> str:
    """Whoever writes this object first has used the link."""
    return f"{PREFIX}{link_id}.used"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
