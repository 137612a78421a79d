"""Settings of the audit log."""

from __future__ import annotations

from pydantic import Field, SecretStr

from shared.runtime.settings.base import Count, Seconds, SettingsGroup


class AuditLogSettings(SettingsGroup):
    """The database of the audit log, and how the recorder batches rows."""

    database_url: SecretStr = Field(
        SecretStr(""), description="PostgreSQL URL of the log database."
    )
    log_batch: Count = Field(
        500, description="Most log rows written in one transaction."
    )
    log_flush_s: Seconds = Field(
        0.5, description="Longest time a log row waits for its batch."
    )
    log_archive_after_days: int = Field(
        180,
        ge=0,
        description="A month of the log that ended longer ago moves to the bucket archive; 0: never.",
        json_schema_extra={"unit": "d"},
    )
