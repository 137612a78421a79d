"""Settings of a worker and its attempts."""

from __future__ import annotations

from pydantic import Field

from shared.runtime.settings.base import Count, Pixels, Seconds, SettingsGroup
from shared.runtime.settings.broker import BrokerSettings
from shared.runtime.settings.store import StoreSettings


class AttemptSettings(BrokerSettings, StoreSettings):
    """How often a photo is tried, and how long each wait is.

    Attempts are claims in the object store, each with the broker's lease.
    """

    max_attempts: Count = Field(5, description="Attempts at one photo before it fails.")
    max_crashes: Count = Field(
        3, description="Workers that one photo may kill before it fails."
    )
    retry_base_s: Seconds = Field(
        2.0,
        description="Wait before the second attempt; doubles with each further one.",
    )
    retry_cap_s: Seconds = Field(
        300.0, description="Longest wait between two attempts."
    )


class WorkerSettings(SettingsGroup):
    """How much a worker takes on at once, and how it stops."""

    max_pixels_in_hand: Pixels = Field(
        400_000_000,
        description="Most pixels out of the photos in hand of one worker; only small ones go beside a bigger photo.",
    )
    prepare_lanes: int = Field(
        0,
        ge=0,
        description="Photos that a worker prepares at once; 0: one on a CPU, else by its cores.",
    )
    store_lanes: int = Field(
        0,
        ge=0,
        description="Results that a worker stores at once; 0: one on a CPU, else by its cores.",
    )
    drain_s: Seconds = Field(
        30.0, description="Grace after SIGTERM in which the photo in hand is finished."
    )
    idle_unload_s: float = Field(
        600.0,
        ge=0,
        description="A worker without a photo for this long unloads its models; 0 keeps them.",
        json_schema_extra={"unit": "s"},
    )
    idle_leave_s: float = Field(
        0.0,
        ge=0,
        description="A worker without a photo for this long ends, for what starts one when photos wait; 0: it stays.",
        json_schema_extra={"unit": "s"},
    )
    stall_s: Seconds = Field(
        600.0,
        description="A worker with a stage that hangs for this long is stuck and restarts.",
    )
