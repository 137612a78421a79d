"""The demo's own stack: gone at the end however it ends, and nobody else's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from infra.commands import demo
from infra.local.state import Pids
from shared.errors import SettingsError


def test_an_interrupted_start_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ctrl-C comes at any time; what the start had begun by then must not run on."""
    called: list[str] = []

    def darkroom(command: str, *_: str, **__: Any) -> int:
        called.append(command)
        if command == "up":
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(demo, "_darkroom", darkroom)
    with pytest.raises(KeyboardInterrupt):
        demo.run(tmp_path / "out", tmp_path / "state")
    assert called == ["up", "down"]


def test_the_stack_of_another_demo_is_left_alone(tmp_path: Path) -> None:
    """Its folder is not emptied below it."""
    (tmp_path / "run").mkdir()
    Pids(tmp_path).write({"supervisor": os.getpid()})
    with pytest.raises(
        SettingsError, match=f"DARKROOM_STATE_DIR={tmp_path} darkroom down"
    ):
        demo.run(tmp_path / "out", tmp_path)
    assert "supervisor" in Pids(tmp_path).alive()


def test_a_command_is_heard_when_it_fails(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Only then: what it says otherwise is about a folder in which nobody else looks."""
    assert demo._darkroom("down", state_dir=tmp_path, saying="stopping") == 0
    assert capfd.readouterr() == ("", "")
    assert demo._darkroom("status", state_dir=tmp_path, saying="looking") == 2
    assert "no stack is ready" in capfd.readouterr().err
