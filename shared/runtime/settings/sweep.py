"""Settings of the sweep."""

from __future__ import annotations

from pydantic import Field

from shared.runtime.settings.base import Seconds, SettingsGroup


class SweepSettings(SettingsGroup):
    """How often the sweep looks, and what it deletes by age."""

    multipart_max_age_s: float = Field(
        604_800.0,
        ge=0,
        description="The sweep ends uploads in parts begun longer ago, their tickets' time at least; 0: never.",
        json_schema_extra={"unit": "s"},
    )
    preview_expires_s: float = Field(
        86_400.0,
        ge=0,
        description="The sweep deletes previews asked for longer ago; 0: never.",
        json_schema_extra={"unit": "s"},
    )
    held_expires_s: float = Field(
        604_800.0,
        ge=0,
        description="The sweep erases uploads that were not started for so long; 0: never.",
        json_schema_extra={"unit": "s"},
    )
    retention_rules: str = Field(
        "",
        description="TOML file of what is deleted after how many days, and what is held; empty: nothing is deleted.",
    )
    sweep_interval_s: Seconds = Field(
        30.0,
        description="Pause between two looks at new uploads; the least between two sweeps.",
    )
