"""The real servers, and a whole stack, started once a session when the first test needs
them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

from infra.local.stack import Stack
from shared import workflows
from shared.runtime.settings import Settings
from tests.support.order import beside_each_other, unit

# The tests start hundreds of processes: what one of them compiled is kept for the next.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Several processes share the cores: a thread of a network that waits for its next layer
# leaves its core to others. By itself it would spin, which doubles the work of a test.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A backup of each stack of the tests would be a process more, and tests nothing.
os.environ.setdefault("DARKROOM_BACKUP_INTERVAL_S", "0")

# No example is judged by its time: the machine may be busy.
usual = hypothesis.settings.get_profile(hypothesis.settings.get_current_profile_name())
hypothesis.settings.register_profile("darkroom", usual, deadline=None)
hypothesis.settings.load_profile("darkroom")


@pytest.fixture(autouse=True)
def built_in_workflows_alone() -> None:
    """A process knows the workflow files of one store, which was another test's."""
    workflows.use(None)


class UnitScheduling(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker whole units, where whole files were asked for."""
    by_file = config.getvalue("dist") == "loadfile"
    return UnitScheduling(config, log) if by_file else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Give out the files in an order that keeps several workers busy to the end."""
    if hasattr(config, "workerinput"):
        items[:] = beside_each_other(items)


@pytest.fixture(scope="session")
def state_dir() -> Iterator[Callable[[str], Path]]:
    """Makes state directories, in a folder that is gone at the end: each holds some
    tens of megabytes.
    """
    with tempfile.TemporaryDirectory(prefix="darkroom-") as folder:
        yield lambda name: Path(tempfile.mkdtemp(prefix=name, dir=folder))


@contextmanager
def only_servers(folder: Path) -> Iterator[Stack]:
    """Object store, broker and log database, with buckets and schema, but no process of
    Darkroom.
    """
    running = Stack(Settings.given(state_dir=folder), servers_only=True)
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def servers(state_dir: Callable[[str], Path]) -> Iterator[Stack]:
    """Those that the whole session shares."""
    with only_servers(state_dir("servers")) as running:
        yield running


def darkroom(
    *arguments: str, state_dir: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does, with a state directory and further `DARKROOM_*`
    variables.
    """
    env = os.environ | {"DARKROOM_STATE_DIR": str(state_dir)} | environment
    command = [sys.executable, "-m", "infra.cli", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=env, check=False, timeout=300
    )


@pytest.fixture(scope="session")
def stack(state_dir: Callable[[str], Path]) -> Iterator[Settings]:
    """A whole stack, as `darkroom up --detach` starts it; its settings."""
    folder = state_dir("stack")
    up = darkroom("up", "--detach", state_dir=folder)
    assert up.returncode == 0, up.stderr
    try:
        yield Settings.load(state_dir=folder)
    finally:
        darkroom("down", state_dir=folder)
