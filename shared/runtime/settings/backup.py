"""Settings of the backup."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from shared.runtime.settings.base import SettingsGroup


class BackupSettings(SettingsGroup):
    """Where the backup lies, how often it is made, and whose key its secrets have."""

    backup_url: str = Field(
        "",
        description="Folder of the backup, or s3://bucket/prefix; empty: beside the state folder.",
    )
    backup_interval_s: float = Field(
        3600.0,
        ge=0,
        description="Time between two backups; 0: none by itself.",
        json_schema_extra={"unit": "s"},
    )
    backup_keep_days: float = Field(
        0.0,
        ge=0,
        description="How far back a state can be restored; what only older ones need is deleted each day. 0: never.",
        json_schema_extra={"unit": "d"},
    )
    drill_interval_s: float = Field(
        0.0,
        ge=0,
        description="Time between two drills that the backup process starts; 0: none.",
        json_schema_extra={"unit": "s"},
    )
    backup_recipient: str = Field(
        "",
        pattern=r"^(|age1[0-9a-z]{58})$",
        description="age key that secrets are encrypted to; empty: that of the key file.",
    )
    backup_key_file: Path | None = Field(
        None,
        description="age identity that opens the secrets; unset: beside the state folder.",
    )
    backup_s3_endpoint_url: str = Field(
        "",
        description="Object store of an s3:// backup; empty: the same as for the photos.",
    )
    backup_s3_access_key: SecretStr = Field(
        SecretStr(""),
        description="Access key of the backup account; empty: the process's own.",
    )
    backup_s3_secret_key: SecretStr = Field(
        SecretStr(""), description="Its secret key."
    )
