"""Where a model's files lie on this machine, and that they are the right ones.

An engine calls `verify` before it loads anything; each file is hashed once per process.
Files come from an installed package, found without importing it, or from the models
folder (`models pull`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from functools import cache
from pathlib import Path
from typing import NamedTuple

from shared.errors import Code, NotFound, PermanentError
from shared.models import Model, ModelFile, registry
from shared.runtime.settings import ModelSettings


class _Hashed(NamedTuple):
    """A file's SHA-256, and the file's state when it was hashed."""

    size: int
    mtime_ns: int
    sha256: str


_hashed: dict[Path, _Hashed] = {}
_lock = threading.Lock()


def folder(settings: ModelSettings) -> Path:
    """The models folder, which may not exist yet."""
    return settings.models_dir.expanduser()


def path_of(file: ModelFile, settings: ModelSettings) -> Path | None:
    """The path at which `file` should lie; None when its package is not installed."""
    if file.package is None:
        return folder(settings) / file.path
    try:
        return _folder_of(file.package) / file.path
    except ModuleNotFoundError:
        return None


@cache
def _folder_of(package: str) -> Path:
    """Where an installed package lies. Raises `ModuleNotFoundError`, each time, where it
    is not installed: it may be later.
    """
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise ModuleNotFoundError(package)
    return Path(next(iter(places)))


def is_present(model: Model, settings: ModelSettings) -> bool:
    """Whether every file of `model` is on this machine, whatever it contains."""
    paths = [path_of(file, settings) for file in model.files]
    return all(path is not None and path.is_file() for path in paths)


def locate(model: Model, role: str, settings: ModelSettings) -> Path:
    """The existing file of `model` in `role`. Raises `NotFound(model_missing)` naming
    the command to run.
    """
    file = model.file(role)
    if file is None:
        detail = f"model {model.name} has no {role} file; this engine cannot run it"
        raise NotFound(Code.MODEL_MISSING, detail)
    path = path_of(file, settings)
    if path is None or not path.is_file():
        detail = f"model {model.name} is not on this machine: {_why_missing(file)}; {way_out(model)}"
        raise NotFound(Code.MODEL_MISSING, detail)
    return path


def face_detector(settings: ModelSettings) -> Path | None:
    """The detector of a model of faces, if one is on this machine and is the right one."""
    for model in registry().values():
        file = model.file("detector")
        path = path_of(file, settings) if file else None
        if file and path and path.is_file() and sha256_of(path) == file.sha256:
            return path
    return None


def _why_missing(file: ModelFile) -> str:
    if file.package:
        return "its package is not installed"
    return f"{file.path} is not in the models folder"


def way_out(model: Model) -> str:
    """How the files of `model` are brought to this machine, as a sentence's end."""
    for file in model.files:
        if file.package:
            distribution = file.package.replace("_", "-")
            return f"run `pip install {distribution}`"
    return f"run `darkroom models pull {model.name}`"


def verify(model: Model, settings: ModelSettings) -> None:
    """Compare every file of `model` with its pinned SHA-256. A file is hashed again
    only when it changed.

    Raises `NotFound(model_missing)`, or `PermanentError(model_corrupt)` naming model,
    file, expected and found.
    """
    for file in model.files:
        path = locate(model, file.role, settings)
        found = sha256_of(path)
        if found != file.sha256:
            detail = (
                f"model {model.name}: {path} has SHA-256 {found}, expected {file.sha256}; "
                f"delete it and fetch it again ({way_out(model)})"
            )
            raise PermanentError(Code.MODEL_CORRUPT, detail)


def verify_installed(settings: ModelSettings) -> list[Model]:
    """Verify every model of the registry that is on this machine, and return them.
    Raises as `verify`.
    """
    present = [model for model in registry().values() if is_present(model, settings)]
    for model in present:
        verify(model, settings)
    return present


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file as hex digits, remembered for this process while size and
    mtime stay the same.
    """
    stat = path.stat()
    with _lock:
        known = _hashed.get(path)
        if known and (known.size, known.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
            return known.sha256
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
        sha256 = digest.hexdigest()
        _hashed[path] = _Hashed(stat.st_size, stat.st_mtime_ns, sha256)
        return sha256
