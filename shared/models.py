"""The registry of models (`models.json`): names, checksums, where their files come from, what they need.

Both wings read it: the handler because a model's checksum is part of a task's identity, the worker to find and
verify the files (`gpu_worker.models`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from shared.errors import Code, NotFound

REGISTRY = Path(__file__).with_name("models.json")


class ModelFile(BaseModel):
    """One file of a model: inside an installed package (`package` + `path`) or to be pulled from `url`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["ncnn-param", "ncnn-bin", "weights"]
    sha256: str
    bytes: int | None = None  # where its publisher says it
    package: str | None = None
    path: str
    url: str | None = None


class Model(BaseModel):
    """One model. `sha256` is that of its weights and enters every signature that uses it.

    `scale`: output side over input side. `overlap_px`: input pixels of context that a tile needs on each side so
    that its seam is invisible (exact for compact; measured for the others). `align_px`: sides and tile starts must be
    multiples of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    architecture: Literal["rrdb", "srvgg", "ddcolor", "gfpgan", "auto"]
    title: str
    licence: str
    scale: int = 1
    overlap_px: int = 0
    align_px: int = 1
    files: list[ModelFile]

    @property
    def sha256(self) -> str:
        return next(f.sha256 for f in self.files if f.role in ("ncnn-bin", "weights"))

    def file(self, role: str) -> ModelFile | None:
        return next((f for f in self.files if f.role == role), None)


@cache
def registry() -> dict[str, Model]:
    found = TypeAdapter(list[Model]).validate_json(REGISTRY.read_bytes())
    return {model.name: model for model in found}


def get(name: str) -> Model:
    """Raises `NotFound(model_missing)` with the known names."""
    model = registry().get(name)
    if model is None:
        raise NotFound(Code.MODEL_MISSING, f"no model {name!r} in the registry; there are {', '.join(registry())}")
    return model
