"""The real servers, and a whole stack, started once a session when the first test needs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.stack import Stack
from shared.settings import Settings


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Object store, broker and log database, with buckets and schema, but no process of Darkroom."""
    running = Stack(Settings.given(state_dir=tmp_path_factory.mktemp("servers")), servers_only=True)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def darkroom(*arguments: str, state_dir: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does, with a state directory and further `DARKROOM_*` variables."""
    env = os.environ | {"DARKROOM_STATE_DIR": str(state_dir)} | environment
    command = [sys.executable, "-m", "infra.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=300)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A whole stack, as `darkroom up --detach` starts it; its settings."""
    folder = tmp_path_factory.mktemp("stack")
    up = darkroom("up", "--detach", state_dir=folder)
    assert up.returncode == 0, up.stderr
    try:
        yield Settings.load(state_dir=folder)
    finally:
        darkroom("down", state_dir=folder)
