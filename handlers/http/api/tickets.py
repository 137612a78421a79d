"""Tickets: a slot for one upload, which the bucket and the ticket itself know all
about.

A ticket is drawn without asking anybody: a UUID (version 8) that holds when it expires,
42 random bits, and a MAC over both and the user, so that a ticket of nobody or of
somebody else is known as such. With an `Idempotency-Key` it is derived instead (version
5), and a document in the bucket for access keeps what it was for.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from handlers.context import Context
from handlers.http.auth.principal import Caller
from handlers.http.problems import Problem
from shared.errors import NotFound
from shared.uploads import identity, keys
from shared.uploads.documents import Document

MAC_BYTES = 6


class Drawn(Document):
    """`tickets/{ticket}.json`: what an `Idempotency-Key` was used for."""

    user_hash: str
    request: str
    expires_at: datetime


def draw(pepper: bytes, user_hash: str, expires_at: datetime) -> UUID:
    """A new ticket of this user."""
    raw = bytearray(
        int(expires_at.timestamp()).to_bytes(4, "big") + secrets.token_bytes(6)
    )
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return UUID(bytes=bytes(raw) + _mac(pepper, user_hash, bytes(raw)))


def expiry(pepper: bytes, user_hash: str, ticket: UUID) -> datetime | None:
    """When a drawn ticket expires; None: it was not drawn for this user."""
    raw, mac = ticket.bytes[:-MAC_BYTES], ticket.bytes[-MAC_BYTES:]
    # People ask for old tickets, too, and erase by them: those that release 0.1 drew
    # are good until the next release.
    good = (_mac(pepper, user_hash, raw), _old_mac(pepper, user_hash, raw))
    if not any(hmac.compare_digest(mac, known) for known in good):
        return None
    return datetime.fromtimestamp(int.from_bytes(raw[:4], "big"), UTC)


def derive(
    ctx: Context,
    user_hash: str,
    key: str,
    request: dict[str, Any],
    expires_at: datetime,
) -> UUID:
    """The ticket of an `Idempotency-Key`. Raises `Problem` 409 when the key was used
    for another request.
    """
    ticket = UUID(identity.ticket(user_hash, key))
    told = identity.canonical_json(request)
    # With a key: name and callback of an erased photo cannot be guessed from it.
    pepper = ctx.settings.pepper.get_secret_value().encode()
    digest = hmac.new(pepper, b"ticket request" + told, hashlib.sha256).hexdigest()
    drawn = Drawn(user_hash=user_hash, request=digest, expires_at=expires_at)
    bucket, name = ctx.settings.bucket_access, keys.ticket(str(ticket))
    if ctx.store.put_new(bucket, name, drawn.to_bytes(), "application/json"):
        return ticket
    # Release 0.1 wrote a plain checksum, which this request, where it is the same,
    # replaces.
    if Drawn.from_bytes(ctx.store.read(bucket, name), name).request not in (
        digest,
        hashlib.sha256(told).hexdigest(),
    ):
        detail = "this Idempotency-Key was used for another request; send a new key with a new request"
        raise Problem(409, detail, "idempotency_conflict")
    # the new URLs are good for longer
    ctx.store.put(bucket, name, drawn.to_bytes(), "application/json")
    return ticket


def owner(
    ctx: Context, caller: Caller, ticket: UUID, user: str | None
) -> tuple[str, datetime]:
    """Whose a ticket is, and when it expires. Raises `Problem` 404, also for somebody
    else's.
    """
    pepper = ctx.settings.pepper.get_secret_value().encode()
    user_hash = user if user and caller.operator else caller.user_hash
    if (expires_at := expiry(pepper, user_hash, ticket)) is not None:
        return user_hash, expires_at
    name = keys.ticket(str(ticket))
    try:
        drawn = Drawn.from_bytes(ctx.store.read(ctx.settings.bucket_access, name), name)
    except NotFound:
        drawn = None
    if drawn is None or not caller.sees(drawn.user_hash):
        raise Problem(404, f"no ticket {ticket}", "not_found")
    return drawn.user_hash, drawn.expires_at


def _mac(pepper: bytes, user_hash: str, raw: bytes) -> bytes:
    """With a key of its own: the pepper itself makes pseudonyms, and no user's name may
    be a message of tickets.
    """
    return _digest(_key(pepper), user_hash.encode() + raw)


def _old_mac(pepper: bytes, user_hash: str, raw: bytes) -> bytes:
    return _digest(pepper, b"ticket" + user_hash.encode() + raw)


def _digest(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()[:MAC_BYTES]


@lru_cache(maxsize=2)
def _key(pepper: bytes) -> bytes:
    return hmac.new(pepper, b"darkroom tickets", hashlib.sha512).digest()
