"""Settings of the message broker."""

from __future__ import annotations

from pydantic import Field, SecretStr

from shared.runtime.settings.base import Seconds
from shared.runtime.settings.store import RegionSettings


class BrokerSettings(RegionSettings):
    """The message broker, and how long a silent consumer keeps its messages."""

    broker_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"), description="kombu URL of the broker."
    )
    publish_timeout_s: Seconds = Field(
        5.0, description="Longest wait for the broker to confirm a message."
    )
    lease_s: Seconds = Field(
        30.0, description="A worker silent for this long has lost its photo to another."
    )
