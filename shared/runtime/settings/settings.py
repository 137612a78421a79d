"""Every setting: environment variables with the prefix `DARKROOM_`, read once at the
start.

`Settings` is the sum of the groups beside this file, so that a whole `Settings` can be
given to everything that asks for one group. A stack started by `darkroom up` leaves its
addresses and secrets in `{state_dir}/stack.env`; commands run beside it find them
there. A variable in the environment always wins over that file.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr, ValidationError

from shared.errors import SettingsError
from shared.runtime import connection, environment
from shared.runtime.addresses import without_passwords
from shared.runtime.settings.access import AccessSettings
from shared.runtime.settings.audit_log import AuditLogSettings
from shared.runtime.settings.backup import BackupSettings
from shared.runtime.settings.base import PREFIX
from shared.runtime.settings.broker import BrokerSettings
from shared.runtime.settings.codec import CodecSettings, CopySettings, LabelSettings
from shared.runtime.settings.credentials import CredentialSettings
from shared.runtime.settings.engine import EngineSettings
from shared.runtime.settings.http import HttpSettings
from shared.runtime.settings.limits import RateLimitSettings
from shared.runtime.settings.notices import NoticeSettings
from shared.runtime.settings.process import ProcessSettings, StackSettings
from shared.runtime.settings.store import StoreSettings
from shared.runtime.settings.sweep import SweepSettings
from shared.runtime.settings.uploads import UploadSettings
from shared.runtime.settings.webhooks import WebhookSettings
from shared.runtime.settings.worker import AttemptSettings, WorkerSettings

STACK_FILE = connection.STACK_FILE
STATE_DIR = connection.STATE_DIR


class Settings(
    # The last one comes first in `model_fields`, and so in `darkroom config`.
    ProcessSettings,
    NoticeSettings,
    WebhookSettings,
    BackupSettings,
    SweepSettings,
    CredentialSettings,
    LabelSettings,
    CopySettings,
    CodecSettings,
    WorkerSettings,
    AttemptSettings,
    EngineSettings,
    UploadSettings,
    RateLimitSettings,
    AccessSettings,
    HttpSettings,
    AuditLogSettings,
    BrokerSettings,
    StoreSettings,
    StackSettings,
):
    """All groups of settings in one value."""

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """Read the environment, then the running stack's file, then the defaults.

        Raises `SettingsError` naming the variable, its value's fault and the rule.
        """
        named = overrides.get("state_dir") or environment.state_dir()
        state_dir = Path(named) if named else STATE_DIR
        return cls._read(state_dir / STACK_FILE, overrides)

    @classmethod
    def given(cls, **overrides: Any) -> Settings:
        """Read the environment, and no running stack's file.

        `model_fields_set` has the names that it sets. Raises like `load`.
        """
        return cls._read(None, overrides)

    @classmethod
    def _read(cls, file: Path | None, overrides: dict[str, Any]) -> Settings:
        try:
            return cls(_env_file=file, **overrides)  # type: ignore[call-arg]
        except ValidationError as error:
            faults = "; ".join(_faults(error))
            raise SettingsError(
                f"{faults}. `darkroom config` lists every setting."
            ) from error

    def variables(self, exclude: Collection[str] = ()) -> dict[str, str]:
        """Everything that is not left at its default, as `DARKROOM_*` variables:
        secrets in clear, paths absolute.
        """
        names = sorted(self.model_fields_set - set(exclude))
        return {variable(name): _plain(getattr(self, name)) for name in names}

    def masked(self) -> dict[str, str]:
        """Every setting as text, secrets masked; an address keeps all but its password."""
        return {name: _mask(getattr(self, name)) for name in type(self).model_fields}


def variable(name: str) -> str:
    """The environment variable of the setting `name`."""
    return f"{PREFIX}{name.upper()}"


def _faults(error: ValidationError) -> list[str]:
    faults = []
    for fault in error.errors():
        name = ".".join(str(part) for part in fault["loc"])
        faults.append(f"{variable(name)}: {fault['msg']}")
    return faults


def _plain(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value.expanduser().absolute())
    return str(value)


def _mask(value: Any) -> str:
    if not isinstance(value, SecretStr):
        return without_passwords(str(value))
    secret = value.get_secret_value()
    parts = urlsplit(secret)
    if not parts.scheme or not parts.netloc:
        return "********" if secret else ""
    _password, at, host = parts.netloc.rpartition("@")
    masked = f"***@{host}" if at else host
    return urlunsplit(parts._replace(netloc=masked))
