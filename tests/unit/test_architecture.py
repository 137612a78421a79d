"""Three wings on one ground: who may import what is held by this test."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
WINGS = ("handlers", "gpu_worker", "infra")
STOREYS = (
    "photo",
    "pixels",
    "damage",
    "tiles",
    "codec",
    "models",
    "device",
    "engines",
    "tile_runner",
    "steps",
    "look",
    "gates",
    "abilities",
    "restore",
    "pipeline",
    "rerun",
    "convert",
    "worker",
    "__main__",
)
"""The worker's modules and packages, from the ground up."""
BENCHES = ROOT / "infra" / "bench"
"""It stands above the wings: each of its benches measures one, in its own process."""
FILES = sorted(
    path for part in (*WINGS, "shared") for path in (ROOT / part).rglob("*.py")
)

BLOCKER = """
import importlib.abc, importlib, pkgutil, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocker())
import {wing}
for module in pkgutil.walk_packages({wing}.__path__, "{wing}."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> Iterator[str]:
    """Top-level packages that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{path}: a relative import hides which wing it reaches"
            )
            yield (node.module or "").partition(".")[0]


def inside(path: Path) -> Iterator[str]:
    """Modules and packages of the worker that a file of it imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (
            name.split(".")[1] for name in names if name.startswith("gpu_worker.")
        )


def test_a_wing_imports_itself_and_the_ground() -> None:
    """Never another wing; the ground imports no wing at all; nobody imports the tests."""
    strangers = {name_of(path): _others(path) for path in FILES}
    assert {name: found for name, found in strangers.items() if found} == {}


def _others(path: Path) -> set[str]:
    """The wings, or the tests, that a file imports and may not."""
    own = {name_of(path).partition("/")[0]} - {"shared"}
    if BENCHES in path.parents:
        own = set(WINGS)
    return set(imported(path)) & {*WINGS, "tests"} - own


def test_nothing_stands_on_a_bench() -> None:
    """But for the command that starts it."""
    users = {
        name_of(path)
        for path in FILES
        if BENCHES not in path.parents and "infra.bench" in path.read_text()
    }
    assert users == {"infra/commands/bench.py"}


def test_inside_the_worker_imports_run_downward() -> None:
    """Whatever is imported, also inside a function, stands lower in `STOREYS`, or on
    the same storey's own floor.
    """
    for path in sorted((ROOT / "gpu_worker").rglob("*.py")):
        own = path.relative_to(ROOT / "gpu_worker").parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        # A folder's command line stands above all that it offers.
        if path.name == "cli.py":
            own = "__main__"
        below = {*STOREYS[: STOREYS.index(own)], own}
        assert set(inside(path)) <= below, f"{path} imports {set(inside(path)) - below}"


def test_the_environment_is_read_in_one_place() -> None:
    """Settings are values, read once where a process begins (`infra` hands its own
    environment to the processes).
    """
    readings = ("getenv", "environ[", "environ.get")
    readers = [
        name_of(path)
        for path in FILES
        if any(reading in path.read_text() for reading in readings)
    ]
    assert set(readers) <= {"shared/runtime/environment.py"}


def test_files_fit_on_a_few_screens() -> None:
    """A file has one job, and a longer plain file beats a packed one; beyond 500 lines
    it is two things.
    """
    lines = {name_of(path): len(path.read_text().splitlines()) for path in FILES}
    assert {name: count for name, count in lines.items() if count > 500} == {}


@pytest.mark.parametrize(
    ("wing", "blocked"),
    [
        ("handlers", {"torch", "ncnn", "numpy", "PIL", "scipy", "skimage", "cv2"}),
        ("gpu_worker", {"psycopg2", "fastapi", "uvicorn"}),
        ("infra", {"torch", "ncnn", "fastapi", "uvicorn"}),
    ],
)
def test_a_wing_runs_where_the_others_parts_are_not_installed(
    wing: str, blocked: set[str]
) -> None:
    """Every module of a wing can be imported without what only the others need."""
    code = BLOCKER.format(blocked=blocked, wing=wing)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


TRIGGERS = (
    "handlers.on_upload",
    "handlers.on_record",
    "handlers.on_finished",
    "handlers.on_sweep",
    "handlers.aws_lambda",
)


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_trigger_loads_no_database_driver(trigger: str) -> None:
    """An event decides; what it says in the audit log is another process's."""
    code = f"import sys, {trigger}; sys.exit('psycopg2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == 0


def test_only_the_audit_log_speaks_to_postgresql() -> None:
    """In `handlers` and the benches."""
    speakers = [
        name_of(path)
        for path in (*(ROOT / "handlers").rglob("*.py"), *BENCHES.rglob("*.py"))
        if "psycopg2" in set(imported(path))
    ]
    assert speakers == ["handlers/audit_log/connections.py"]


def test_importing_the_audit_log_changes_nothing_in_the_process() -> None:
    """How psycopg2 waits is one for the whole process: it is set to connect."""
    code = """
import handlers.audit_log.database
from psycopg2.extensions import get_wait_callback
assert get_wait_callback() is None
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == 0
