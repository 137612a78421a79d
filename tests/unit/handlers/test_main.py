"""`python -m handlers …`: wrong usage and wrong settings are told in a sentence, before
any work is taken.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from handlers import __main__ as handlers
from shared.errors import (
    Code,
    DarkroomError,
    PermanentError,
    SettingsError,
    StorageUnavailable,
)
from shared.runtime.settings import Settings

ROOT = Path(__file__).parents[3]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("DARKROOM_")
    }
    env |= {
        f"DARKROOM_{name}": value
        for name, value in ({"STATE_DIR": "/nowhere"} | environment).items()
    }
    command = [sys.executable, "-m", "handlers", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


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


@pytest.mark.parametrize(
    ("name", "value"), [("API_PORT", "eighty"), ("FAILPOINT", "nowhere:1")]
)
def test_wrong_settings_are_named(name: str, value: str) -> None:
    """Exit status 2 and the variable's name, no stack trace."""
    done = run("http", PEPPER="p", **{name: value})
    assert done.returncode == 2
    assert f"DARKROOM_{name}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SettingsError("a setting is wrong"), 2),
        (StorageUnavailable("it is away"), 1),
        (PermanentError(Code.BAD_DOCUMENT, "it is damaged"), 1),
    ],
)
def test_an_error_is_the_sentence_that_every_command_says(
    error: DarkroomError,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever kind it is of, and no traceback."""

    def main(_: Settings, __: list[str]) -> int:
        raise error

    monkeypatch.setattr(
        handlers,
        "importlib",
        SimpleNamespace(import_module=lambda _: SimpleNamespace(main=main)),
    )
    monkeypatch.setattr("shared.runtime.telemetry.configure", lambda *_: None)
    assert handlers.main(["sweep", "--once"]) == status
    assert capsys.readouterr() == ("", f"darkroom: {error.detail}\n")


def test_a_process_tells_a_variable_that_is_no_setting() -> None:
    """By its name and what may be meant; never its value. It changes nothing. What
    `darkroom env` prints for clients of ComfyUI is none to tell of.
    """
    exported = {"TEST_SAMPLES": "/x", "COMFYUI_URL": "http://127.0.0.1/comfyui"}
    done = run("sweep", "--help", LEASE="a secret", LOG_FORMAT="json", **exported)
    (line,) = [line for line in done.stderr.splitlines() if "setting.unknown" in line]
    told = json.loads(line)
    assert (told["variable"], told["nearest"], told["level"]) == (
        "DARKROOM_LEASE",
        "DARKROOM_LEASE_S",
        "warning",
    )
    assert done.returncode == 0
    assert "a secret" not in done.stderr
