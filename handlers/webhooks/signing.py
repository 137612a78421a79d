"""Signatures by the Standard Webhooks specification (https://www.standardwebhooks.com),
symmetric, version 1.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import datetime

from shared.errors import SettingsError
from shared.runtime.settings import WebhookSettings

PREFIX = "whsec_"
KEY_BYTES = range(24, 65)


def keys_of(settings: WebhookSettings) -> list[bytes]:
    """The keys that sign, one or more. Raises `SettingsError`."""
    keys = [
        _key(secret) for secret in settings.webhook_secret.get_secret_value().split()
    ]
    if not keys:
        raise SettingsError(
            "DARKROOM_WEBHOOK_SECRET is empty: callbacks are never sent unsigned"
        )
    return keys


def secret_of(settings: WebhookSettings, user_hash: str) -> str:
    """The secret that signs the calls of one user's photos only. Raises
    `SettingsError`.
    """
    return PREFIX + base64.b64encode(_own(keys_of(settings)[0], user_hash)).decode()


def sign(
    keys: list[bytes],
    ident: str,
    moment: datetime,
    body: bytes,
    user_hash: str | None = None,
) -> dict[str, str]:
    """The three headers, signed with each key and, for a user's photo, with this user's
    own secrets, too.

    `ident` stays the same in every attempt of one webhook: receivers know by it what they
    have.
    """
    if user_hash is not None:
        keys = keys + [_own(key, user_hash) for key in keys]
    timestamp = str(int(moment.timestamp()))
    content = b".".join((ident.encode(), timestamp.encode(), body))
    signatures = (
        base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
        for key in keys
    )
    return {
        "webhook-id": ident,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _own(key: bytes, user_hash: str) -> bytes:
    return hmac.digest(key, f"callbacks of {user_hash}".encode(), hashlib.sha256)


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(PREFIX) or len(key) not in KEY_BYTES:
        raise SettingsError(
            "DARKROOM_WEBHOOK_SECRET: each secret is `whsec_` and the base64 form of 24 to 64 bytes"
        )
    return key
