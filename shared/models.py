"""The registry of models (`models.json`): names, checksums, where their files come
from, what they need.

Both wings read it: the handler because a model's checksum is part of a task's identity,
the worker to find and verify the files (`gpu_worker.models`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from shared.errors import Code, NotFound, SettingsError

REGISTRY = Path(__file__).with_name("models.json")
LOCAL = "local.json"
"""File in the models folder, in the form of the registry: models that were added on
this machine.
"""

_folders: list[Path] = []


class ModelFile(BaseModel):
    """One file of a model: inside an installed package (`package` and `path`), or
    pulled from `url`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["ncnn-param", "ncnn-bin", "weights", "detector"]
    sha256: str
    bytes: int | None = None
    """Its size, where the publisher says it."""
    package: str | None = None
    path: str
    url: str | None = None


class Model(BaseModel):
    """One model. `sha256` is that of its weights and enters every signature that uses
    it.

    `architecture`: its entry in `gpu_worker.engines.architectures`, or `auto`, whatever
    spandrel finds in the weights. `scale`: output side over input side. `overlap_px`: input pixels of context that a
    tile needs on each side so that its seam is invisible; `overlap_exact`: an output
    pixel depends on no more than these, so that tiles give what the whole picture
    gives. `restriction`: what its licence forbids, which a person accepts before its
    files are pulled. `align_px`: sides and tile starts must be multiples of it. `weak`:
    the name of its twin that leaves more noise; the weights of both can be mixed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    architecture: str
    title: str
    licence: str
    restriction: str | None = None
    scale: int = 1
    overlap_px: int = 0
    overlap_exact: bool = False
    align_px: int = 1
    weak: str | None = None
    files: list[ModelFile]

    @property
    def sha256(self) -> str:
        """The checksum of the weights."""
        weights = self.file("ncnn-bin") or self.file("weights")
        if weights is None:
            raise ValueError(f"model {self.name} has no weights")
        return weights.sha256

    def file(self, role: str) -> ModelFile | None:
        """The file with this role, if there is one."""
        for file in self.files:
            if file.role == role:
                return file
        return None


_MODELS = TypeAdapter(list[Model])


@cache
def registry() -> dict[str, Model]:
    """Every model by name, with those that `use_local` added."""
    return {model.name: model for model in _MODELS.validate_json(REGISTRY.read_bytes())}


def local(folder: Path) -> list[Model]:
    """The models that were added in models folder `folder`.

    Raises `SettingsError` naming the file and its fault.
    """
    path = folder.expanduser() / LOCAL
    try:
        return _MODELS.validate_json(path.read_bytes())
    except FileNotFoundError:
        return []
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path}: {place}: {first['msg']}") from error


def save_local(folder: Path, models: list[Model]) -> None:
    """Replace the list of `folder` in one step."""
    part = folder / f"{LOCAL}.part"
    part.write_bytes(_MODELS.dump_json(models, indent=2, exclude_none=True))
    part.replace(folder / LOCAL)


def use_local(folder: Path) -> None:
    """Add the models of `folder` to the registry of this process, also those that are
    added to the folder while it runs.
    """
    if folder not in _folders:
        _folders.append(folder)
    for model in local(folder):
        registry().setdefault(model.name, model)


def get(name: str) -> Model:
    """The model `name`. Raises `NotFound(model_missing)` with the known names."""
    if name not in registry():
        for folder in _folders:
            use_local(folder)
    model = registry().get(name)
    if model is None:
        raise NotFound(
            Code.MODEL_MISSING,
            f"no model {name!r} in the registry; there are {', '.join(registry())}",
        )
    return model
