"""How large one photo may be: as for everybody, or as for its user, its job, or the
scope of the key by which it was sent.

A ticket knows the scopes, and the object that comes by it does not. So the ticket says
in the object's metadata what it allowed, with a code by which nobody else can.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection
from functools import cache

from shared.runtime.settings import AccessSettings, PhotoLimit, Settings
from shared.uploads import identity

NONE = "none"
"""What a ticket says that allows no more than everybody has."""
_TOLD = re.compile(r"(\d{1,15})/(\d{1,15})/([0-9a-f]{32})")


def limits_of(
    settings: Settings,
    user_hash: str | None,
    of_job: bool,
    scopes: Collection[str] = (),
) -> Settings:
    """`settings` with the limits of such a photo: what is said of the user counts before
    what is said of jobs, that before scopes, and that before what holds for everybody.
    """
    some = settings.limits_of_some
    pepper = settings.pepper.get_secret_value()
    users = _by_hash(tuple(some.users), pepper)
    applying = []
    if user_hash in users:
        applying.append(some.users[users[user_hash]])
    if of_job:
        applying.append(some.jobs)
    given = [limit for scope, limit in some.scopes.items() if scope in scopes]
    if given:
        applying.append(_largest(given))
    return settings.with_limits(*applying)


def told(allowed: Settings, user_hash: str) -> str:
    """What a ticket says that allows this user so much."""
    size, pixels = allowed.max_upload_bytes, allowed.max_pixels
    return f"{size}/{pixels}/{_code(allowed, user_hash, size, pixels)}"


def as_told(settings: Settings, user_hash: str, text: str) -> Settings | None:
    """`settings` with what a ticket allowed; None where no ticket of this user said so."""
    found = _TOLD.fullmatch(text)
    if found is None:
        return None
    size, pixels = int(found[1]), int(found[2])
    if not hmac.compare_digest(_code(settings, user_hash, size, pixels), found[3]):
        return None
    return settings.with_limits(PhotoLimit(bytes=size, pixels=pixels))


def _code(access: AccessSettings, user_hash: str, size: int, pixels: int) -> str:
    said = identity.canonical_json(["limits", user_hash, size, pixels])
    pepper = access.pepper.get_secret_value().encode()
    return hmac.new(pepper, said, hashlib.sha256).hexdigest()[:32]


def _largest(limits: list[PhotoLimit]) -> PhotoLimit:
    size = max(limit.bytes or 0 for limit in limits)
    pixels = max(limit.pixels or 0 for limit in limits)
    return PhotoLimit(bytes=size or None, pixels=pixels or None)


@cache
def _by_hash(names: tuple[str, ...], pepper: str) -> dict[str | None, str]:
    return {identity.user_hash(name, pepper.encode()): name for name in names}
