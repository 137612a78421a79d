"""`/v1/me`: who asks, what that allows, and the limits that a client can hold a file
against before it sends a byte.
"""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from handlers.http.api.dependencies import Api, CurrentRequest
from handlers.http.api.responses import refusals
from handlers.http.api.signed_requests import allowed_to
from handlers.http.auth.principal import SCOPES
from shared.runtime.settings import Settings
from shared.uploads import photo_files

router = APIRouter(tags=["access"])

EXAMPLE: JsonDict = {
    "user": "5f0c…",
    "operator": False,
    "scopes": ["read", "upload"],
    "limits": {
        "upload_bytes": 50000000,
        "pixels": 120000000,
        "result_pixels": 2000000000,
        "frames": 100,
        "part_bytes": 16777216,
        "queued_photos": 10000,
        "previews": 8,
        "held_expires_s": 604800,
    },
    "formats": ["JPEG", "PNG"],
    "suffixes": [".jpeg", ".jpg", ".png"],
}


class Limits(BaseModel):
    """What one photo, and one user, may have. The operator has the first four alone."""

    upload_bytes: int
    pixels: int = Field(description="Width x height of a photo.")
    result_pixels: int = Field(description="Width x height of its result.")
    frames: int = Field(description="Pictures or pages in one file.")
    part_bytes: int = Field(description="Larger files are sent in parts of this size.")
    queued_photos: int = Field(description="Photos that wait at the same time.")
    previews: int = Field(description="Previews under way at the same time.")
    held_expires_s: float = Field(
        description="So long an upload waits for its start; 0: for ever."
    )


class Me(BaseModel):
    """`user`: the caller's pseudonym. `formats` and `suffixes` of files that may be
    photos.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    user: str
    operator: bool
    scopes: list[str]
    limits: Limits
    formats: list[str]
    suffixes: list[str]


@router.get("/me", responses=refusals())
async def show_me(api: Api, request: CurrentRequest) -> Me:
    """Who the key or token is of, what it allows, and what may be sent."""
    principal = request.principal
    scopes = [scope for scope in SCOPES if principal.may(scope)]
    return Me(
        user=principal.user_hash,
        operator=principal.operator,
        scopes=sorted(scopes),
        limits=_limits(allowed_to(principal, api.ctx.settings)),
        formats=list(photo_files.FORMATS),
        suffixes=sorted(photo_files.SUFFIXES),
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        upload_bytes=settings.max_upload_bytes,
        pixels=settings.max_pixels,
        result_pixels=settings.max_output_pixels,
        frames=settings.max_frames,
        part_bytes=settings.multipart_bytes,
        queued_photos=settings.limit_queued_photos,
        previews=settings.limit_previews,
        held_expires_s=settings.held_expires_s,
    )
