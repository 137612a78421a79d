"""A sentence on how to add a missing part is right in a checkout, in an installed wheel
and in an image.
"""

from __future__ import annotations

import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

from shared.runtime import installation

PYPROJECT = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())[
    "project"
]


def test_the_distribution_is_called_as_pyproject_says() -> None:
    assert PYPROJECT["name"] == installation.DISTRIBUTION
    assert "darkroom" in PYPROJECT["scripts"]  # the command keeps its name


def test_no_extra_names_the_distribution_of_somebody_else() -> None:
    wanted = [
        line for extra in PYPROJECT["optional-dependencies"].values() for line in extra
    ]
    own = [line for line in wanted if line.startswith("darkroom")]
    assert own
    assert all(line.startswith(f"{installation.DISTRIBUTION}[") for line in own)


def test_a_checkout_installs_itself_again() -> None:
    assert installation.how_to_add("torch") == (
        "run `pip install -c constraints.txt -e '.[torch]'` in Darkroom's checkout"
    )


def test_an_installed_wheel_comes_from_the_package_index(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(installation, "ROOT", tmp_path)
    assert (
        installation.how_to_add("torch")
        == "run `pip install 'darkroom-restoration[torch]'`"
    )


def test_an_image_has_no_pip_and_names_another_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def not_installed(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", not_installed)
    assert "run the image darkroom-worker-gpu" in installation.how_to_add("torch")
    assert "pip install" not in installation.how_to_add("torch")


def test_pip_is_found_whatever_was_imported_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Setuptools hooks the import system's search for pip, and warns there if somebody
    imported distutils before.
    """
    monkeypatch.setitem(sys.modules, "distutils", ModuleType("distutils"))
    assert "pip install" in installation.how_to_add("torch")
