"""Tickets: a slot for one upload each, of which only the bucket and the ticket itself
know.

A ticket is drawn without a request to any service: a UUID (version 8) that holds when it
expires, 42 random bits, and a MAC over both and the user, so that an invented ticket, or
one of another user, is recognised. With an `Idempotency-Key` it is derived instead
(version 5), and a document in the bucket for access keeps what it was for.
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
from handlers.http.auth.principal import Principal
from handlers.http.problems import Problem
from shared.errors import NotFound
from shared.uploads import identity, keys
from shared.uploads.documents import Document

EXPIRY_BYTES = 4
RANDOM_BYTES = 6
MAC_BYTES = 6


class Drawn(Document):
    """`tickets/{ticket}.json`: what an `Idempotency-Key` was used for."""

    user_hash: str
    request: str
    expires_at: datetime
    multipart: str | None = None
    """The store's id of the upload in parts that was begun for it."""


def draw(
    pepper: bytes,
    user_hash: str,
    expires_at: datetime,
) -> UUID:
    """A new ticket of this user."""
    expiry_s = int(expires_at.timestamp())
    random = secrets.token_bytes(RANDOM_BYTES)
    raw = bytearray(expiry_s.to_bytes(EXPIRY_BYTES, "big") + random)
    raw[6] = raw[6] & 0x0F | 0x80  # version 8
    raw[8] = raw[8] & 0x3F | 0x80  # the variant of RFC 9562
    mac = _mac(pepper, user_hash, bytes(raw))
    return UUID(bytes=bytes(raw) + mac)


def expiry(
    pepper: bytes,
    user_hash: str,
    ticket: UUID,
) -> datetime | None:
    """When a drawn ticket expires; None if it was not drawn for this user."""
    raw = ticket.bytes[:-MAC_BYTES]
    mac = ticket.bytes[-MAC_BYTES:]
    # Tickets of release 0.1 are good until the next release: users ask for their state
    # and erase by them.
    accepted = (_mac(pepper, user_hash, raw), _old_mac(pepper, user_hash, raw))
    if not any(hmac.compare_digest(mac, one) for one in accepted):
        return None
    expiry_s = int.from_bytes(raw[:EXPIRY_BYTES], "big")
    return datetime.fromtimestamp(expiry_s, UTC)


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
    body = identity.canonical_json(request)
    digest = _request_digest(ctx, body)
    drawn = Drawn(
        user_hash=user_hash,
        request=digest,
        expires_at=expires_at,
    )
    bucket = ctx.settings.bucket_access
    name = keys.ticket(str(ticket))
    if ctx.store.put_new(bucket, name, drawn.to_bytes(), "application/json"):
        return ticket
    earlier = Drawn.from_bytes(ctx.store.read(bucket, name), name)
    # Release 0.1 wrote a plain checksum.
    if earlier.request not in (digest, hashlib.sha256(body).hexdigest()):
        detail = "this Idempotency-Key was used for another request; send a new key with a new request"
        raise Problem(409, detail, "idempotency_conflict")
    # Written again, because the new URLs are good for longer.
    renewed = drawn.model_copy(update={"multipart": earlier.multipart})
    ctx.store.put(bucket, name, renewed.to_bytes(), "application/json")
    return ticket


def begun(ctx: Context, ticket: UUID) -> str | None:
    """The upload in parts that was begun for a derived ticket, if one was."""
    drawn = _read(ctx, ticket)
    return drawn.multipart if drawn else None


def note_begun(ctx: Context, ticket: UUID, multipart: str) -> None:
    """Remember the upload in parts of a derived ticket."""
    drawn = _read(ctx, ticket)
    if drawn:
        noted = drawn.model_copy(update={"multipart": multipart})
        name = keys.ticket(str(ticket))
        bucket = ctx.settings.bucket_access
        ctx.store.put(bucket, name, noted.to_bytes(), "application/json")


def owner(
    ctx: Context,
    principal: Principal,
    ticket: UUID,
    user: str | None,
) -> tuple[str, datetime]:
    """The user hash of a ticket's owner, and when the ticket expires. The operator may
    name the `user`. Raises `Problem` 404, also for a ticket of another user.
    """
    pepper = ctx.settings.pepper.get_secret_value().encode()
    user_hash = user if user and principal.operator else principal.user_hash
    expires_at = expiry(pepper, user_hash, ticket)
    if expires_at is not None:
        return user_hash, expires_at
    drawn = _read(ctx, ticket)
    if drawn is None or not principal.sees(drawn.user_hash):
        raise Problem(404, f"no ticket {ticket}", "not_found")
    return drawn.user_hash, drawn.expires_at


def _read(ctx: Context, ticket: UUID) -> Drawn | None:
    name = keys.ticket(str(ticket))
    try:
        data = ctx.store.read(ctx.settings.bucket_access, name)
    except NotFound:
        return None
    return Drawn.from_bytes(data, name)


def _request_digest(ctx: Context, body: bytes) -> str:
    """Keyed, so that name and callback of an erased photo cannot be guessed from it."""
    pepper = ctx.settings.pepper.get_secret_value().encode()
    return hmac.new(pepper, b"ticket request" + body, hashlib.sha256).hexdigest()


def _mac(
    pepper: bytes,
    user_hash: str,
    raw: bytes,
) -> bytes:
    """With a key of its own: the pepper itself makes pseudonyms, and no user's name may
    be a message of tickets.
    """
    return _digest(_key(pepper), user_hash.encode() + raw)


def _old_mac(
    pepper: bytes,
    user_hash: str,
    raw: bytes,
) -> bytes:
    return _digest(pepper, b"ticket" + user_hash.encode() + raw)


def _digest(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()[:MAC_BYTES]


@lru_cache(maxsize=2)
def _key(pepper: bytes) -> bytes:
    return hmac.new(pepper, b"darkroom tickets", hashlib.sha512).digest()
