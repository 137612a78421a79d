"""Settings of models and engines."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from shared.runtime.settings.base import Bytes, SettingsGroup


class ModelSettings(SettingsGroup):
    """Where model files come from and where they are kept."""

    models_mirror: str = Field(
        "",
        description="URL that holds the model files by name; empty means their own URLs.",
    )
    models_mirror_token: SecretStr = Field(
        SecretStr(""),
        description="Bearer token that the mirror's URL asks for; no other address gets it.",
    )
    models_dir: Path = Field(
        Path("~/.cache/darkroom/models"), description="Where pulled models lie."
    )


class ScratchSettings(SettingsGroup):
    """When and where a large picture is mapped to a file."""

    scratch_dir: Path = Field(
        Path(tempfile.gettempdir()),
        description="Where big pictures are mapped while in work.",
    )
    scratch_threshold_bytes: Bytes = Field(
        500_000_000, description="Pictures above this live in a scratch file."
    )


class EngineSettings(ModelSettings, ScratchSettings):
    """Which engine restores, and how much of the machine it may use."""

    engine: Literal["auto", "ncnn", "onnxruntime", "torch", "realesrgan"] = Field(
        "auto",
        description="Inference engine; onnxruntime: as auto without CUDA in PyTorch.",
    )
    onnx_providers: str = Field(
        "",
        description="Execution providers of ONNX Runtime in order, by comma; empty means the CPU.",
        examples=["CUDAExecutionProvider"],
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d{1,3})?)$",
        description="Where a worker computes: auto (a free CUDA device, else the CPU), cpu, cuda, or cuda:N.",
    )
    cpu_kernels: Literal["auto", "ncnn"] = Field(
        "auto", description="auto: our own where compiled, else ncnn's."
    )
    tile_px: int = Field(
        0,
        ge=0,
        description="Tile side before overlap; 0 lets the worker choose by memory.",
        json_schema_extra={"unit": "px"},
    )
    worker_threads: int = Field(
        0, ge=0, description="Inference threads; 0 means every core."
    )
    inference_memory_bytes: Bytes = Field(
        2_000_000_000, description="Most host memory for the tiles in work."
    )
    cpu_fallback: bool = Field(
        True, description="Restore on the CPU what does not fit into the GPU's memory."
    )
