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
from gpu_worker.engines.architectures import ARCHITECTURES
from shared.errors import Code, PermanentError
from shared.models import (
    Model,
    ModelFile,
    get,
    local,
    registry,
    save_local,
    use_local,
)
from shared.runtime.settings import ModelSettings

NAMES = {known.spandrel: name for name, known in ARCHITECTURES.items()}
"""spandrel's names for the architectures that are known here."""
OVERLAP_PX = 64
"""The overlap of a network whose reach is not known; a compact one reaches one pixel
per convolution.
"""
USABLE = (("SR", 3, 3), ("Restoration", 3, 3))
"""Purpose and channels, in and out, of networks that a step here can run."""


def add(path: Path, name: str | None, licence: str, settings: ModelSettings) -> Model:
    """Copy `path` into the models folder, unless it lies there, and give it a name (its
    stem without one).

    Raises `PermanentError(model_corrupt)` for a file that is not weights of a network
    from colour pictures to colour pictures or of a colouring one, `bad_parameter` for a
    name that is taken by other weights or has odd characters.
    """
    name = name or path.stem
    if not re.fullmatch(r"[\w.-]{1,80}", name):
        raise _refused(
            f"{name!r} is no name for a model; use letters, digits, . _ and -"
        )
    use_local(settings.models_dir)
    described = _described(path, name, licence)
    if name in registry():
        known = get(name)
        if known.sha256 == described.sha256:
            return known
        # Results are named by their model: a name belongs to one file for ever.
        raise _refused(
            f"the name {name!r} is taken by other weights; choose another, --name"
        )
    folder = models.folder(settings)
    _copy_into(folder, path)
    save_local(folder, [*local(folder), described])
    use_local(settings.models_dir)
    return described


def _copy_into(folder: Path, path: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / path.name
    if target.exists():
        if target.samefile(path):
            return
        raise _refused(f"{target} exists already; rename {path.name} and add it again")
    part = target.with_name(f"{target.name}.part")
    shutil.copyfile(path, part)
    part.replace(target)


def _refused(detail: str) -> PermanentError:
    return PermanentError(Code.BAD_PARAMETER, detail)


def _described(path: Path, name: str, licence: str) -> Model:
    """The entry of a weights file, from what its network says about itself."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    file = ModelFile(
        role="weights",
        sha256=digest.hexdigest(),
        bytes=path.stat().st_size,
        path=path.name,
    )
    network = weights.network(weights.read(path), name)
    _check_usable(path, network)
    kind = network.architecture.id
    align = compat.size_requirements(network).multiple_of
    return Model(
        name=name,
        architecture=NAMES.get(kind, "auto"),
        title=f"{kind} x{network.scale}, added on this machine",
        licence=licence,
        scale=network.scale,
        overlap_px=_overlap(network, align),
        align_px=align,
        files=[file],
    )


def _check_usable(path: Path, network: Any) -> None:
    kind = network.architecture.id
    pictures = (network.purpose, network.input_channels, network.output_channels)
    if kind != "DDColor" and pictures not in USABLE:
        detail = (
            f"{path.name} is a {kind} network for {network.purpose}; only DDColor and networks from colour pictures to "
            "colour pictures have a step here"
        )
        raise PermanentError(Code.MODEL_CORRUPT, detail)


def _overlap(network: Any, align: int) -> int:
    """Input pixels that a window needs beyond its core: a multiple of `align`."""
    if network.architecture.id == "Compact":
        reach = network.model.num_conv + 2
    else:
        folded = getattr(network.model, "shuffle_factor", None) or 1
        reach = OVERLAP_PX * folded
    multiples = -(-int(reach) // align)
    return multiples * align
