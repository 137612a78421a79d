"""A whole stack that is started again: after a crash, and in the shell of its clients."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from shared.runtime.settings import STACK_FILE, Settings
from tests.conftest import darkroom
from tests.support.running_servers import survivors
from tests.support.waiting import eventually
from tests.system.test_stack import PROCESSES, family, folder, pids  # noqa: F401


def test_up_crash_up_down(folder: Path) -> None:
    """Two workers; `kill -9` of the supervisor; `up` again with the same addresses;
    `down`: nothing is left.
    """
    assert (
        darkroom("up", "--detach", "--workers", "2", state_dir=folder).returncode == 0
    )
    assert set(pids(folder)) == PROCESSES | {"worker-1", "worker-2"}
    addresses, first = Settings.load(state_dir=folder), family(folder)
    first[0].send_signal(signal.SIGKILL)
    eventually(lambda: not survivors(first[:1]), "the supervisor's end")
    assert darkroom("up", "--detach", state_dir=folder).returncode == 0
    eventually(lambda: not survivors(first), "the end of every process")
    assert Settings.load(state_dir=folder) == addresses
    second = family(folder)
    assert darkroom("down", state_dir=folder).returncode == 0
    eventually(lambda: not survivors(second), "the end of every process")
    assert not (folder / STACK_FILE).exists()
    assert "darkroom up" in darkroom("env", state_dir=folder).stderr


SHELL = """
set -e -a
eval "$("$0" -m infra.cli env)"
set +a
"$0" -m infra.cli down
"$0" -m infra.cli up --detach
"$0" -m infra.cli status --json
"""


def test_down_and_up_in_the_shell_of_its_clients(folder: Path) -> None:
    """As the README has it: what `darkroom env` told is in the shell's environment, and
    the stack starts again.
    """
    assert darkroom("up", "--detach", state_dir=folder).returncode == 0
    shell = ["sh", "-c", SHELL, sys.executable]
    env = os.environ | {"DARKROOM_STATE_DIR": str(folder)}
    done = subprocess.run(shell, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {
        process["name"] for process in json.loads(done.stdout)["processes"]
    } == PROCESSES | {"worker"}
