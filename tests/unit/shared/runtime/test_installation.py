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
    assert "run the image darkroom-services" in installation.how_to_add("services")
    assert "none has the part `stack`" in installation.how_to_add("stack")
    assert "pip install" not in installation.how_to_add("torch")


def test_every_image_that_is_named_is_one_of_composes() -> None:
    compose = (Path(__file__).parents[4] / "compose.yaml").read_text()
    assert all(f"image: {name}:" in compose for name in installation.IMAGES.values())


def test_a_missing_library_is_named_with_its_extra() -> None:
    lacking = ModuleNotFoundError("no", name="botocore.session")
    fault = installation.missing_part(lacking, "stack", "`darkroom up`")
    assert fault.detail.startswith("`darkroom up` needs botocore, which is not")
    assert "[stack]" in fault.detail


def test_a_missing_module_of_our_own_is_a_fault_of_the_program() -> None:
    """No installation mends it, so the error itself says what is missing."""
    lacking = ModuleNotFoundError("no", name="infra.gone")
    with pytest.raises(ModuleNotFoundError) as raised:
        installation.missing_part(lacking, "stack", "`darkroom up`")
    assert raised.value is lacking


def test_pip_is_found_whatever_was_imported_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Setuptools hooks the import system's search for pip, and warns there if somebody
    imported distutils before.
    """
    monkeypatch.setitem(sys.modules, "distutils", ModuleType("distutils"))
    assert "pip install" in installation.how_to_add("torch")
