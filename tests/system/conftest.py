"""Whole stacks take a minute to start on a busy machine, and tests of them wait for
several things in turn.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import darkroom
from tests.support.client import Client

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def main_stack(state_dir: Callable[[str], Path]) -> Iterator[Path]:
    """The state directory of a stack for several modules, which sweeps often."""
    folder = state_dir("main-job")
    up = darkroom(
        "up",
        "--detach",
        state_dir=folder,
        DARKROOM_SWEEP_INTERVAL_S="2",
        DARKROOM_LEASE_S="15",
    )
    assert up.returncode == 0, up.stderr
    yield folder
    down = darkroom("down", state_dir=folder)
    assert down.returncode == 0, down.stderr


@pytest.fixture(scope="session")
def client(main_stack: Path) -> Client:
    printed = darkroom("env", state_dir=main_stack).stdout
    return Client(dict(line.split("=", 1) for line in shlex.split(printed)))
