"""Settings of uploads."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.runtime.settings.base import Bytes, Seconds
from shared.runtime.settings.limits import PhotoLimitSettings


class UploadSettings(PhotoLimitSettings):
    """How uploads are offered and which workflow they get."""

    default_workflow: str = Field(
        "enhance", description="Workflow of an upload that names none."
    )
    formats: str = Field(
        "",
        pattern=r"^(|none|(jpeg|webp|avif|tiff|same|labelled)([ ,]+(jpeg|webp|avif|tiff|same|labelled))*)$",
        description="Copies beside each result: jpeg, webp, avif, tiff, same (as the original), labelled.",
    )
    unavailable: Literal["reject", "wait"] = Field(
        "reject",
        description="What becomes of an upload for a workflow that no worker can run.",
    )
    upload_expires_s: Seconds = Field(
        900.0, ge=1, le=604800, description="How long a signed upload is good."
    )
    multipart_bytes: Bytes = Field(
        16 << 20,
        ge=5 << 20,
        description="Larger uploads are offered parts of this size.",
    )
