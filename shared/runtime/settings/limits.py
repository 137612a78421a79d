"""Settings that limit users and photos."""

from __future__ import annotations

from pydantic import Field, SecretStr

from shared.runtime.settings.base import Bytes, Count, Pixels, SettingsGroup


class RateLimitSettings(SettingsGroup):
    """How much one user or one address may ask of the API."""

    limits_url: SecretStr = Field(
        SecretStr(""),
        description="Redis server that counts for all processes of the API; else the broker, if it is one.",
    )
    limit_requests_per_min: Count = Field(6000, description="Requests of one user.")
    limit_address_requests_per_min: Count = Field(
        12000, description="Requests from one address."
    )
    limit_failures_per_min: Count = Field(
        300, description="Wrong keys and tokens from one address."
    )
    limit_bytes_per_min: Bytes = Field(
        20_000_000_000,
        description="Bytes announced by one user; an upload without a length counts as the largest.",
    )
    limit_queued_photos: Count = Field(
        10_000, description="Photos of one user that wait."
    )
    limit_ingest_photos: Count = Field(
        100_000, description="Photos of one job of `POST /v1/ingests`."
    )
    limit_previews: Count = Field(
        8, description="Previews of one user that are under way."
    )
    limit_preview_pixels_per_min: Pixels = Field(
        200_000_000, description="Pixels out of the previews that one user asks for."
    )


class PhotoLimitSettings(SettingsGroup):
    """The largest photo that is accepted and the largest result that is made."""

    max_upload_bytes: Bytes = Field(50_000_000, description="Largest upload accepted.")
    max_pixels: Pixels = Field(
        120_000_000, description="Most pixels in, by the header's width x height."
    )
    max_frames: Count = Field(
        100,
        description="Most pictures or pages in one file, of which one is restored.",
    )
    max_output_pixels: Pixels = Field(
        2_000_000_000, description="Most pixels out, width x height x scale²."
    )
