"""Settings of uploads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from shared.runtime.settings.base import Bytes, Seconds
from shared.runtime.settings.limits import PhotoLimitSettings


class UploadSettings(PhotoLimitSettings):
    """How uploads are offered and which workflow they get."""

    default_workflow: str = Field(
        "enhance", description="Workflow of an upload that names none."
    )
    default_params: str = Field(
        "",
        description="Parameters of uploads that leave them out, by workflow, as JSON.",
        examples=['{"portrait": {"model_size": 680}}'],
    )
    workflows_dir: Path | None = Field(
        None,
        description="Folder of workflow files that `up` and `bootstrap` add to the built-in ones.",
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

    @field_validator("default_params")
    @classmethod
    def _by_workflow(cls, text: str) -> str:
        _parsed(text)
        return text

    @property
    def usual_params(self) -> dict[str, dict[str, Any]]:
        """`default_params` by workflow and parameter."""
        return _parsed(self.default_params)


def _parsed(text: str) -> dict[str, dict[str, Any]]:
    """Raises `ValueError` with the rule."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(
        isinstance(params, dict) for params in found.values()
    ):
        raise ValueError(
            'it is not JSON of parameters by workflow, such as {"portrait": {"model_size": 680}}'
        )
    return found
