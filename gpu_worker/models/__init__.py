"""Where a model's files lie on this machine, and that they are the right ones.

Nothing is ever loaded unverified: an engine asks `verify` first, which hashes every
file once per process. Files come from an installed package, found without importing it,
or from the models folder (`models pull`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from pathlib import Path

from shared.errors import Code, NotFound, PermanentError
from shared.models import Model, ModelFile, registry
from shared.runtime.settings import Settings

_verified: dict[Path, tuple[int, int, str]] = {}
_lock = threading.Lock()


def folder(settings: Settings) -> Path:
    """The models folder, which may not exist yet."""
    return settings.models_dir.expanduser()


def path_of(file: ModelFile, settings: Settings) -> Path | None:
    """Where `file` should lie; None when its package is not installed."""
    if file.package is None:
        return folder(settings) / file.path
    spec = importlib.util.find_spec(file.package)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) / file.path if places else None


def is_present(model: Model, settings: Settings) -> bool:
    """Whether every file of `model` is on this machine; says nothing about its
    contents.
    """
    return all(
        (path := path_of(file, settings)) is not None and path.is_file()
        for file in model.files
    )


def locate(model: Model, role: str, settings: Settings) -> Path:
    """The existing file of `model` in `role`. Raises `NotFound(model_missing)` naming
    the command to run.
    """
    file = model.file(role)
    if file is None:
        raise NotFound(
            Code.MODEL_MISSING,
            f"model {model.name} has no {role} file; this engine cannot run it",
        )
    path = path_of(file, settings)
    if path is None or not path.is_file():
        detail = f"model {model.name} is not on this machine: {_fault(file)}; {way_out(model)}"
        raise NotFound(Code.MODEL_MISSING, detail)
    return path


def _fault(file: ModelFile) -> str:
    return (
        "its package is not installed"
        if file.package
        else f"{file.path} is not in the models folder"
    )


def way_out(model: Model) -> str:
    """A sentence's end: how the files of `model` are brought to this machine."""
    package = next((file.package for file in model.files if file.package), None)
    if package:
        return f"run `pip install {package.replace('_', '-')}`"
    return f"run `darkroom models pull {model.name}`"


def verify(model: Model, settings: Settings) -> None:
    """Compare every file of `model` with its pinned SHA-256; a file is hashed again
    only when it changed.

    Raises `NotFound(model_missing)`, or `PermanentError(model_corrupt)` naming model,
    file, expected and found.
    """
    for file in model.files:
        path = locate(model, file.role, settings)
        found = sha256_of(path)
        if found != file.sha256:
            raise PermanentError(
                Code.MODEL_CORRUPT,
                f"model {model.name}: {path} has SHA-256 {found}, expected {file.sha256}; "
                f"delete it and fetch it again ({way_out(model)})",
            )


def verify_installed(settings: Settings) -> list[Model]:
    """Verify every model of the registry that is on this machine, and return them.
    Raises as `verify`.
    """
    present = [model for model in registry().values() if is_present(model, settings)]
    for model in present:
        verify(model, settings)
    return present


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as hex digits, remembered for this process while size and mtime
    stay the same.
    """
    stat = path.stat()
    state = (stat.st_size, stat.st_mtime_ns)
    with _lock:
        known = _verified.get(path)
        if known is None or known[:2] != state:
            with path.open("rb") as stream:
                known = (*state, hashlib.file_digest(stream, "sha256").hexdigest())
            _verified[path] = known
        return known[2]
