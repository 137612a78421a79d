"""How this copy of Darkroom was installed, and so how a missing part of it is added."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

DISTRIBUTION = "darkroom-restoration"
"""Darkroom's name on a package index; `darkroom` is somebody else's there, and is only
our command.
"""

ROOT = Path(__file__).parents[2]


def how_to_add(extra: str) -> str:
    """A sentence's end that says how this installation gets the optional part `extra`.

    A checkout installs itself again, an installed wheel comes from the package index,
    and an image has no pip. The sentence stands in errors that users read, so it names
    no folder of this machine.
    """
    if not _has_pip():
        return f"run the image darkroom-worker-gpu, which has the part `{extra}`: nothing can be installed in this one"
    if (ROOT / "pyproject.toml").is_file():
        return f"run `pip install -c constraints.txt -e '.[{extra}]'` in Darkroom's checkout"
    return f"run `pip install '{DISTRIBUTION}[{extra}]'`"


def _has_pip() -> bool:
    """Whether pip is installed beside Darkroom.

    The metadata is asked, not the import system: setuptools hooks the search for pip,
    and warns there of modules that other packages imported before.
    """
    try:
        metadata.distribution("pip")
    except metadata.PackageNotFoundError:
        return False
    return True
