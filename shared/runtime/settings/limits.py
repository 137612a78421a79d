"""Settings that limit users and photos."""

from __future__ import annotations

from functools import cache
from typing import Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
)

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


class PhotoLimit(BaseModel):
    """What one photo may have, where it is not as for everybody."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: PositiveInt | None = None
    pixels: PositiveInt | None = None


class PhotoLimits(BaseModel):
    """Limits of some: by the user's name, by a scope of the key, and of a photo that
    belongs to a job.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    users: dict[str, PhotoLimit] = {}
    jobs: PhotoLimit = PhotoLimit()
    scopes: dict[str, PhotoLimit] = {}

    def every(self) -> list[PhotoLimit]:
        return [*self.users.values(), self.jobs, *self.scopes.values()]


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
    photo_limits: str = Field(
        "",
        description="Other limits of bytes and pixels, as JSON: by user, of jobs, by scope.",
        examples=['{"users": {"ann": {"bytes": 300000000, "pixels": 200000000}}}'],
    )

    @field_validator("photo_limits")
    @classmethod
    def _limits_of_some(cls, text: str) -> str:
        _limits(text)
        return text

    @property
    def limits_of_some(self) -> PhotoLimits:
        return _limits(self.photo_limits)

    def with_limits(self, *limits: PhotoLimit) -> Self:
        """As for a photo to which `limits` apply: the first that says a figure counts."""
        update = {}
        for name, figure in (("max_upload_bytes", "bytes"), ("max_pixels", "pixels")):
            said = [getattr(limit, figure) for limit in limits]
            update[name] = next(filter(None, said), getattr(self, name))
        return self.model_copy(update=update)

    def widest(self) -> Self:
        """As for the largest photo of anybody: for what was let in already."""
        every = self.limits_of_some.every()
        most_bytes = max(self.max_upload_bytes, *(each.bytes or 0 for each in every))
        most_pixels = max(self.max_pixels, *(each.pixels or 0 for each in every))
        return self.with_limits(PhotoLimit(bytes=most_bytes, pixels=most_pixels))


@cache
def _limits(text: str) -> PhotoLimits:
    """Raises `ValueError` with the rule."""
    try:
        return PhotoLimits.model_validate_json(text or "{}")
    except ValidationError as error:
        first = error.errors()[0]
        # Without the whole place, which names a user.
        place = first["loc"][-1] if first["loc"] else "it"
        raise ValueError(
            f'{place}: {first["msg"]}; JSON such as {{"users": {{"ann": {{"bytes": 300000000}}}}}} is meant'
        ) from None
