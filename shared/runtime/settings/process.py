"""Settings that every process has."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from shared.runtime.settings.base import Seconds, SettingsGroup


class StackSettings(SettingsGroup):
    """Where the embedded stack lives."""

    state_dir: Path = Field(
        Path(".darkroom"),
        description="Where the embedded stack keeps data, secrets and logs.",
    )


class ProcessSettings(SettingsGroup):
    """What every process has: sign of life, operations port and log."""

    ready_file: Path | None = Field(
        None, description="A process that is ready touches this file while it works."
    )
    beat_timeout_s: Seconds = Field(
        60.0,
        ge=1,
        description="A process that has not touched its file for this long is stuck and restarts.",
    )
    metrics_host: str = Field(
        "127.0.0.1",
        description="Address of every process's /healthz, /readyz, /metrics.",
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port of these three, of each process its own; 0: any, unset: none.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe line logged."
    )
    log_format: Literal["auto", "json", "pretty"] = Field(
        "auto", description="auto: pretty on a terminal."
    )
    failpoint: str = Field(
        "",
        description="For tests: `name:n` kills the process the n-th time it passes `name`; `name:n:hang` holds it.",
    )
