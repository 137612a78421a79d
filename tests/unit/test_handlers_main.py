"""`python -m handlers …`: wrong usage and wrong settings are told in a sentence, before any work is taken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")}
    env |= {f"DARKROOM_{name}": value for name, value in ({"STATE_DIR": "/nowhere"} | environment).items()}
    command = [sys.executable, "-m", "handlers", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["http", "--port", "80"]])
def test_wrong_usage(arguments: list[str]) -> None:
    """Exit status 2, and what can be run."""
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m handlers http|recorder|sweep")


def test_no_user_is_stored_without_a_secret() -> None:
    """Without a pepper the door stays closed, naming the setting."""
    done = run("http")
    assert (done.returncode, done.stdout) == (2, "")
    assert "DARKROOM_PEPPER" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("name", "value"), [("API_PORT", "eighty"), ("FAILPOINT", "nowhere:1")])
def test_wrong_settings_are_named(name: str, value: str) -> None:
    """Exit status 2 and the variable's name, no stack trace."""
    done = run("http", PEPPER="p", **{name: value})
    assert done.returncode == 2
    assert f"DARKROOM_{name}" in done.stderr
    assert "Traceback" not in done.stderr
