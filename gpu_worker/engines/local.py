"""Community models: a weights file is looked at once, pinned by its checksum, and
usable by name from then on.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

from gpu_worker import models
from gpu_worker.engines import compat, weights
from shared.errors import Code, PermanentError
from shared.models import (
    Architecture,
    Model,
    ModelFile,
    get,
    local,
    registry,
    save_local,
    use_local,
)
from shared.runtime.settings import ModelSettings

ARCHITECTURES: dict[str, Architecture] = {
    "ESRGAN": "rrdb",
    "Compact": "srvgg",
    "SCUNet": "scunet",
    "DDColor": "ddcolor",
}
"""spandrel's names for those that have a memory estimate of their own."""
OVERLAP_PX = 64
"""Of a network whose reach is not known; a compact one reaches one pixel per
convolution.
"""


def add(path: Path, name: str | None, licence: str, settings: ModelSettings) -> Model:
    """Copy `path` into the models folder, unless it lies there, and give it a name (its
    stem without one).

    Raises `PermanentError(model_corrupt)` for a file that is not weights of a network
    from colour pictures to colour pictures or of a colouring one, `bad_parameter` for a
    name that is taken by other weights or has odd characters.
    """
    name = name or path.stem
    if not re.fullmatch(r"[\w.-]{1,80}", name):
        raise PermanentError(
            Code.BAD_PARAMETER,
            f"{name!r} is no name for a model; use letters, digits, . _ and -",
        )
    use_local(settings.models_dir)
    described = _described(path, name, licence)
    if name in registry():
        if get(name).sha256 == described.sha256:
            return get(name)
        # Results are named by their model: a name belongs to one file for ever.
        raise PermanentError(
            Code.BAD_PARAMETER,
            f"the name {name!r} is taken by other weights; choose another, --name",
        )
    folder = models.folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / path.name
    if target.exists() and not target.samefile(path):
        raise PermanentError(
            Code.BAD_PARAMETER,
            f"{target} exists already; rename {path.name} and add it again",
        )
    if not target.exists():
        part = target.with_name(f"{target.name}.part")
        shutil.copyfile(path, part)
        part.replace(target)
    save_local(folder, [*local(folder), described])
    use_local(settings.models_dir)
    return described


def _described(path: Path, name: str, licence: str) -> Model:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    network = weights.network(weights.read(path), name)
    kind = network.architecture.id
    pictures = (network.purpose, network.input_channels, network.output_channels)
    if kind != "DDColor" and pictures not in (("SR", 3, 3), ("Restoration", 3, 3)):
        raise PermanentError(
            Code.MODEL_CORRUPT,
            f"{path.name} is a {kind} network for {network.purpose}; only DDColor and networks from colour pictures to "
            "colour pictures have a step here",
        )
    align = compat.size_requirements(network).multiple_of
    return Model(
        name=name,
        architecture=ARCHITECTURES.get(kind, "auto"),
        title=f"{kind} x{network.scale}, added on this machine",
        licence=licence,
        scale=network.scale,
        overlap_px=_overlap(network, align),
        align_px=align,
        files=[
            ModelFile(
                role="weights", sha256=digest, bytes=path.stat().st_size, path=path.name
            )
        ],
    )


def _overlap(network: Any, align: int) -> int:
    """Input pixels, a multiple of what the network wants its sides to be."""
    reach = OVERLAP_PX * (getattr(network.model, "shuffle_factor", None) or 1)
    if network.architecture.id == "Compact":
        reach = network.model.num_conv + 2
    return -(-int(reach) // align) * align
