"""A sentence on how to add a missing part is right in a checkout, in an installed wheel and in an image."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path

import pytest

from shared import installation

PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def test_the_distribution_is_called_as_pyproject_says() -> None:
    assert PYPROJECT["name"] == installation.DISTRIBUTION
    assert "darkroom" in PYPROJECT["scripts"]  # the command keeps its name


def test_no_extra_names_the_distribution_of_somebody_else() -> None:
    wanted = [line for extra in PYPROJECT["optional-dependencies"].values() for line in extra]
    own = [line for line in wanted if line.startswith("darkroom")]
    assert own
    assert all(line.startswith(f"{installation.DISTRIBUTION}[") for line in own)


def test_a_checkout_installs_itself_again() -> None:
    assert installation.how_to_add("torch") == (
        "run `pip install -c constraints.txt -e '.[torch]'` in Darkroom's checkout"
    )


def test_an_installed_wheel_comes_from_the_package_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(installation, "ROOT", tmp_path)
    assert installation.how_to_add("torch") == "run `pip install 'darkroom-restoration[torch]'`"


def test_an_image_has_no_pip_and_names_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(name: str) -> object | None:
        return None if name == "pip" else object()

    monkeypatch.setattr(importlib.util, "find_spec", found)
    assert "run the image darkroom-worker-gpu" in installation.how_to_add("torch")
    assert "pip install" not in installation.how_to_add("torch")
