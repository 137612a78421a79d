"""The secrets of a stack, encrypted with age: whoever holds the backup alone cannot read
them, and without them users are orphaned.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyrage
from pydantic import SecretStr

from infra.local.state import State
from shared.errors import SettingsError
from shared.runtime.settings import Settings

HEADER = "# Opens the secrets of a Darkroom backup. Keep a copy on another machine.\n"


def key_file(settings: Settings) -> Path:
    """Where the identity lies that opens the secrets: outside the state folder."""
    if settings.backup_key_file is not None:
        return settings.backup_key_file.expanduser()
    state = settings.state_dir.expanduser().resolve()
    return state.with_name(f"{state.name}-backup.key")


def draw_key(settings: Settings) -> Path | None:
    """Draw an identity where there is none and the operator named none of their own.

    Returns the file, if it was made now.
    """
    file = key_file(settings)
    if settings.backup_recipient or file.exists():
        return None
    identity = pyrage.x25519.Identity.generate()
    text = f"{HEADER}# public key: {identity.to_public()}\n{identity}\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    with os.fdopen(os.open(file, flags, 0o600), "w") as out:
        out.write(text)
    return file


def sealed(settings: Settings) -> bytes | None:
    """The secrets, encrypted; None where there is no key to encrypt them to.

    Raises `SettingsError` for a key that is none.
    """
    recipient = _recipient(settings)
    if recipient is None:
        return None
    plain = json.dumps(secrets_of(settings)).encode()
    found: bytes = pyrage.encrypt(plain, [recipient])
    return found


def secrets_of(settings: Settings) -> dict[str, dict[str, str] | dict[str, int]]:
    """Secrets and ports of an embedded stack, and the settings that are secrets."""
    state = State.known(settings.state_dir.expanduser().resolve())
    given = {}
    for name in sorted(settings.model_fields_set):
        value = getattr(settings, name)
        if isinstance(value, SecretStr) and value.get_secret_value():
            given[name] = value.get_secret_value()
    return {
        "state": state.secrets if state else {},
        "ports": state.ports if state else {},
        "settings": given,
    }


def opened(data: bytes, file: Path) -> dict[str, dict[str, str]]:
    """The secrets. Raises `SettingsError` where `file` does not open them."""
    try:
        found: dict[str, dict[str, str]] = json.loads(
            pyrage.decrypt(data, [_identity(file)])
        )
    except pyrage.DecryptError as error:
        raise SettingsError(
            f"{file} does not open the secrets of this backup; name the right key with --key"
        ) from error
    return found


def _recipient(settings: Settings) -> pyrage.x25519.Recipient | None:
    if settings.backup_recipient:
        try:
            return pyrage.x25519.Recipient.from_str(settings.backup_recipient)
        except pyrage.RecipientError as error:
            raise SettingsError(
                f"DARKROOM_BACKUP_RECIPIENT is no age key: {error}"
            ) from error
    file = key_file(settings)
    return _identity(file).to_public() if file.exists() else None


def _identity(file: Path) -> pyrage.x25519.Identity:
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise SettingsError(
            f"the key of the backup, {file}, cannot be read: {error.strerror}; name it with --key"
        ) from error
    for line in lines:
        if line.startswith("AGE-SECRET-KEY-"):
            return pyrage.x25519.Identity.from_str(line.strip())
    raise SettingsError(f"{file} holds no age identity (AGE-SECRET-KEY-…)")
