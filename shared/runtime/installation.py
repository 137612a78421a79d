"""How this copy of Darkroom was installed, and so how a missing part of it is added."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from shared.errors import SettingsError

DISTRIBUTION = "darkroom-restoration"
"""Darkroom's name on a package index, where `darkroom` is another project's; our command
has that name.
"""

ROOT = Path(__file__).parents[2]
OWN_PACKAGES = ("handlers", "gpu_worker", "infra", "shared")
IMAGES = {
    "services": "darkroom-services",
    "minio": "darkroom-services",
    "lake": "darkroom-services",
    "report": "darkroom-services",
    "worker": "darkroom-worker-cpu",
    "labels": "darkroom-worker-cpu",
    "torch": "darkroom-worker-gpu",
}
"""Extra → the image that has it."""


def how_to_add(extra: str) -> str:
    """A sentence's end that says how this installation gets the optional part `extra`.

    A checkout installs itself again, an installed wheel comes from the package index,
    and an image has no pip. The sentence stands in errors that users read, so it names
    no folder of this machine.
    """
    if not _has_pip():
        return _where_to_find(extra)
    if (ROOT / "pyproject.toml").is_file():
        return f"run `pip install -c constraints.txt -e '.[{extra}]'` in Darkroom's checkout"
    return f"run `pip install '{DISTRIBUTION}[{extra}]'`"


def missing_part(
    error: ModuleNotFoundError, extra: str, needed_by: str
) -> SettingsError:
    """The error for a library that `needed_by` imports and that comes with `extra`.

    Raises `error` itself where the module is Darkroom's own: then a part of Darkroom is
    broken, and no installation mends it.
    """
    library = (error.name or "").partition(".")[0]
    if library in OWN_PACKAGES:
        raise error
    return missing_library(library, extra, needed_by)


def missing_library(library: str, extra: str, needed_by: str) -> SettingsError:
    """The error for a library that `needed_by` needs and that comes with `extra`."""
    return SettingsError(
        f"{needed_by} needs {library}, which is not installed; {how_to_add(extra)}"
    )


def _where_to_find(extra: str) -> str:
    """What to do in an image, where nothing can be installed."""
    if extra not in IMAGES:
        return (
            f"nothing can be installed in this image, and none has the part `{extra}`"
        )
    return (
        f"run the image {IMAGES[extra]}, which has the part `{extra}`: "
        "nothing can be installed in this one"
    )


def _has_pip() -> bool:
    """Whether pip is installed beside Darkroom.

    This reads the metadata and does not search for the module: setuptools hooks the
    search for pip, and warns there of modules that other packages imported before.
    """
    try:
        metadata.distribution("pip")
    except metadata.PackageNotFoundError:
        return False
    return True
