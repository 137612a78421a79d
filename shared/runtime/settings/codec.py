"""Settings of decoding, encoding and labels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.runtime.settings.base import Bytes, Seconds, SettingsGroup
from shared.runtime.settings.engine import ScratchSettings
from shared.runtime.settings.limits import PhotoLimitSettings


class LabelSettings(SettingsGroup):
    """The labels that say that a result was made with AI."""

    label_text: str = Field(
        "AI辅助修复 · AI生成 / AI-enhanced",
        description="Visible label drawn into a corner.",
    )
    label_result: bool = Field(
        False, description="Draw the visible label into the result itself."
    )
    label_preview: bool = Field(
        True, description="Draw the visible label into previews and drafts."
    )
    label_producer: str = Field(
        "Darkroom", description="Who answers for results, in the TC260:AIGC field."
    )


class CopySettings(ScratchSettings):
    """How copies of results are written."""

    copy_quality: int = Field(
        90, ge=1, le=100, description="Quality of JPEG, WebP and AVIF copies."
    )
    copy_profile: Literal["photo", "srgb"] = Field(
        "photo",
        description="Colours of JPEG, WebP and AVIF copies; TIFF keeps the photo's profile.",
    )


class CodecSettings(ScratchSettings, PhotoLimitSettings):
    """How photos are decoded and results encoded."""

    decode_memory_bytes: Bytes = Field(
        6_000_000_000, description="Most memory for decoding a photo, by its size less."
    )
    decode_seconds: Seconds = Field(
        120.0, description="Most time for decoding a photo, by its size less."
    )
    png_level: int = Field(
        1, ge=0, le=3, description="Effort of the PNG encoder (0 fastest, 3 smallest)."
    )
    keep_gps: bool = Field(
        False, description="Keep the position in a photo's EXIF data."
    )
    keep_profile_tags: bool = Field(
        True, description="Keep the private tags of a photo's colour profile."
    )
    max_metadata_bytes: Bytes = Field(
        4 << 20, description="Largest EXIF block or colour profile that is kept."
    )
