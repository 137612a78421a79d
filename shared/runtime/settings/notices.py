"""Settings of what an administrator is told."""

from __future__ import annotations

from pydantic import Field, SecretStr

from shared.runtime.settings.base import Count, Seconds
from shared.runtime.settings.webhooks import WebhookSettings


class NoticeSettings(WebhookSettings):
    """Whom the callbacks process tells of trouble, and what counts as trouble."""

    notice_url: str = Field(
        "",
        description="The administrator's webhook; any http(s) address, also a private one.",
    )
    notice_mail_to: str = Field(
        "", description="Mail addresses that are told, by commas; needs the next two."
    )
    notice_mail_from: str = Field("", description="Sender of these mails.")
    notice_smtp_url: SecretStr = Field(
        SecretStr(""),
        description="Mail server: smtp://user:password@host:587 or smtps://… .",
    )
    notice_pause_s: Seconds = Field(
        900.0, description="Least time between two notices of one kind."
    )
    notice_failures: Count = Field(
        5, description="Photos that fail in a row before somebody is told."
    )
    notice_uploads_per_min: Count = Field(
        1000, description="Uploads within a minute, by whatever way, that are a burst."
    )
