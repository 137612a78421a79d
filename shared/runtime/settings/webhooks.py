"""Settings of webhooks."""

from __future__ import annotations

from pydantic import Field, SecretStr

from shared.runtime.settings.base import Seconds, SettingsGroup


class WebhookSettings(SettingsGroup):
    """Where webhooks may go, how they are signed and when they are tried again."""

    webhook_secret: SecretStr = Field(
        SecretStr(""), description="Signs webhooks (`whsec_…`); several, by blanks."
    )
    callback_http: bool = Field(
        False, description="Also allow webhooks to http:// addresses."
    )
    callback_ports: str = Field(
        "443 8443",
        pattern=r"^\d{1,5}([ ,]+\d{1,5})*$",
        description="Ports that webhooks may go to; 80 with http.",
    )
    callback_allow: str = Field(
        "",
        description="Hosts and CIDRs that webhooks may reach though they are not public.",
    )
    callback_timeout_s: Seconds = Field(
        15.0, description="Longest wait for the response to a webhook."
    )
    callback_retry_s: str = Field(
        "5 300 1800 7200 18000 36000 50400 72000 86400",
        pattern=r"^\d+(\.\d+)?([ ,]+\d+(\.\d+)?)*$",
        description="Waits between the attempts of a webhook, each ± 20 %.",
        json_schema_extra={"unit": "s"},
    )
