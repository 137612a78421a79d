"""The wheel as a stranger gets it: built from the sources, installed by pip alone into an
empty environment, base only. Needs a package registry.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpu_worker.engines.kernels import VERSION
from infra.cli import COMMANDS
from shared import __version__
from tests.support.extras import without

ROOT = Path(__file__).parents[2]
SOURCES = ("handlers", "gpu_worker", "infra", "shared")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE")
CLIENTS = {"immich", "report", "simulate", "submit", "task", "tasks", "verify", "watch"}
"""Commands that need no extra."""
MAX_BYTES = 27_000_000
"""A third of it is pygments, which rich wants; another third is our own code, compiled."""
CLIENT = """
import sys
from importlib.util import find_spec
from infra.client import DarkroomClient
DarkroomClient("http://127.0.0.1:1", "key").close()
assert not [name for name in ("botocore", "pydantic", "numpy") if find_spec(name)]
assert not [name for name in sys.modules if name.startswith("infra.commands")]
"""


class Environment:
    """A virtual environment, used from a folder without any source of Darkroom's."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=True)
        self.folder = folder

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.folder / "bin" / program), *arguments]
        outside = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DARKROOM_", "PYTHON"))
        }
        return subprocess.run(
            command,
            cwd=self.folder,
            env=outside,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def size(self) -> int:
        """The bytes of all files."""
        files = (path.lstat() for path in self.folder.rglob("*") if path.is_file())
        return sum(found.st_size for found in files)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what a release holds."""
    sources = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        ignored = shutil.ignore_patterns("__pycache__", "*.so.*")
        shutil.copytree(ROOT / name, sources / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, sources)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", "dist", "."]
    subprocess.run(command, cwd=sources, check=True, timeout=300)
    (built,) = (sources / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Environment, int]]:
    """An environment with the wheel's base, and the bytes that it added to pip's."""
    environment = Environment(tmp_path_factory.mktemp("environment"))
    before = environment.size()
    constraints = str(ROOT / "constraints.txt")
    done = environment.run("pip", "install", "-q", "-c", constraints, str(wheel))
    if done.returncode and "No matching distribution" in done.stderr:
        without(f"no package registry can be reached: {done.stderr}")
    assert done.returncode == 0, done.stderr
    yield environment, environment.size() - before
    shutil.rmtree(environment.folder)


def test_the_wheel_has_all_that_is_not_python(wheel: Path) -> None:
    """Types, kernels, migrations, presets and the demo's photographs are inside."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"{package}/py.typed" for package in SOURCES} <= names
    assert f"gpu_worker/engines/kernels/winograd.so.{VERSION}" in names
    for folder in ("infra/migrations", "shared/workflows/presets", "infra/demo/photos"):
        expected = [path for path in (ROOT / folder).iterdir() if path.is_file()]
        assert {str(path.relative_to(ROOT)) for path in expected} <= names
    assert not [name for name in names if name.startswith("tests/")]


def test_the_wheel_is_of_a_platform_and_no_python(wheel: Path) -> None:
    """The kernels know nothing of Python: one wheel serves every version."""
    assert "-py3-none-linux_" in wheel.name


def test_the_base_is_a_small_client(installed: tuple[Environment, int]) -> None:
    """It says its version, explains how to submit, can be imported, and is small."""
    environment, added_bytes = installed
    assert environment.run("darkroom", "--version").stdout.strip() == __version__
    for command in sorted(CLIENTS):
        explained = environment.run("darkroom", command, "--help")
        assert explained.returncode == 0, explained.stderr
    imported = environment.run("python", "-c", CLIENT)
    assert imported.returncode == 0, imported.stderr
    print(f"the base takes {added_bytes / 1e6:.1f} MB beside pip")
    assert added_bytes <= MAX_BYTES


def test_the_client_says_what_it_lacks(installed: tuple[Environment, int]) -> None:
    """Without an address of an API there is nothing to send to."""
    environment, _ = installed
    photo = environment.folder / "photo.jpg"
    photo.write_bytes(b"never sent")
    for arguments in (["submit", str(photo)], ["tasks"]):
        refused = environment.run("darkroom", *arguments)
        assert refused.returncode == 2, refused.stderr
        assert "DARKROOM_API_URL" in refused.stderr
        assert "Traceback" not in refused.stderr


def test_a_command_names_the_extra_that_it_needs(
    installed: tuple[Environment, int],
) -> None:
    """Exit status 2 and how to install it, never a traceback."""
    environment, _ = installed
    for command in COMMANDS.keys() - CLIENTS:
        refused = environment.run("darkroom", command)
        assert refused.returncode == 2, (command, refused.stderr)
        assert "run `pip install 'darkroom-restoration[" in refused.stderr, command
        assert "Traceback" not in refused.stderr
