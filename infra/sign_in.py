"""Writes one-time links to the console, and finds the address that others reach this
machine by.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from datetime import timedelta
from urllib.parse import quote, urlsplit

from infra.local.program import LOOPBACK
from shared import access, sign_in_links
from shared.errors import NotFound, SettingsError
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from shared.uploads import identity
from shared.uploads import keys as places

PAGE = "/console/sign-in"
KEPT = timedelta(days=1)
"""The mark that a link was used is deleted so long after it ran out."""
OUTSIDE = ("192.0.2.1", 9)
"""An address of no one (RFC 5737): to choose the way there sends nothing."""


def new_link(settings: Settings, user: str, base_url: str) -> str:
    """A link, good once and for ten minutes; an empty `user` is the operator.

    Raises `SettingsError` without a pepper, and `StorageUnavailable`.
    """
    pepper = settings.pepper.get_secret_value()
    if not pepper:
        detail = "DARKROOM_PEPPER is empty: the link must know its user by the same secret as the handlers"
        raise SettingsError(detail)
    store = S3Store(settings)
    with suppress(NotFound):
        # Any response corrects the clock, which the servers go by.
        store.head(settings.bucket_access, places.SWEEP)
    _forget_old(store, settings.bucket_access)
    token, link = sign_in_links.mint(
        identity.user_hash(user or "operator", pepper.encode()),
        ("admin",) if not user else access.USUAL,
        store.clock.now(),
        operator=not user,
    )
    name = sign_in_links.place(link.id)
    store.put(settings.bucket_access, name, link.to_bytes(), "application/json")
    # The page greets by a name that the server never learns.
    greeting = f"&{quote(user)}" if user else ""
    return f"{base_url.rstrip('/')}{PAGE}#{token}{greeting}"


def lan_url(settings: Settings) -> str:
    """Where others in this network reach the HTTP server. Raises `SettingsError` where
    it listens to this machine alone.
    """
    if settings.api_host in (LOOPBACK, "localhost", "::1"):
        detail = (
            "the stack listens to this machine alone; start it with `darkroom up --lan`"
        )
        raise SettingsError(detail)
    port = settings.api_port or urlsplit(settings.api_url).port
    return f"http://{lan_address()}:{port}"


def lan_address() -> str:
    """This machine's address in its network. Raises `SettingsError` without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(OUTSIDE)
        except OSError as error:
            detail = f"this machine is in no network: {error.strerror}"
            raise SettingsError(detail) from error
        address: str = probe.getsockname()[0]
        return address


def _forget_old(store: S3Store, bucket: str) -> None:
    """Delete links, and marks of used ones, that ran out long ago."""
    now = store.clock.now()
    for info in store.list(bucket, sign_in_links.PREFIX):
        with suppress(NotFound):
            if now - info.last_modified > KEPT:
                store.delete(bucket, info.key)
