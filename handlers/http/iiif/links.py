"""Links for viewers elsewhere, which send neither a key nor a cookie: a token in the
path that opens one task, or the tasks of one job, until it expires.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Literal
from uuid import UUID

MAC_BYTES = 16
EXPIRY_BYTES = 5
KINDS: dict[str, bytes] = {"task": b"t", "job": b"j"}

Kind = Literal["task", "job"]


@dataclass(frozen=True)
class Link:
    """What a token opens, and until when."""

    kind: Kind
    id: UUID
    expires_at: datetime

    def token(self, pepper: bytes) -> str:
        expiry_s = int(self.expires_at.timestamp())
        body = expiry_s.to_bytes(EXPIRY_BYTES, "big") + KINDS[self.kind] + self.id.bytes
        return urlsafe_b64encode(body + _mac(pepper, body)).decode().rstrip("=")

    def for_task(self, task_id: UUID) -> Link:
        """A link to one task, for as long as this one."""
        return Link("task", task_id, self.expires_at)


def read(token: str, pepper: bytes, now: datetime) -> Link | None:
    """None: it is none of ours, or has expired."""
    try:
        data = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        return None
    body, mac = data[:-MAC_BYTES], data[-MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(pepper, body)):
        return None
    expires_at = datetime.fromtimestamp(int.from_bytes(body[:EXPIRY_BYTES], "big"), UTC)
    if expires_at < now:
        return None
    kind: Kind = "task" if body[EXPIRY_BYTES:][:1] == KINDS["task"] else "job"
    return Link(kind, UUID(bytes=body[EXPIRY_BYTES + 1 :]), expires_at)


def _mac(pepper: bytes, body: bytes) -> bytes:
    return hmac.digest(_key(pepper), body, sha256)[:MAC_BYTES]


@lru_cache(maxsize=2)
def _key(pepper: bytes) -> bytes:
    """The pepper itself makes pseudonyms, and tokens must be none of these."""
    return hmac.digest(pepper, b"darkroom viewer links", sha256)
