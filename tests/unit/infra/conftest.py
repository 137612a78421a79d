"""`darkroom …` run in-process, with a state directory of the test's own."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from infra import cli
from shared.runtime.settings import PREFIX, STACK_FILE
from tests.support.command_line import STACK, Outcome, Run


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Runs `darkroom …` with a state directory of this test's own."""
    monkeypatch.setenv(f"{PREFIX}STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "300")

    def darkroom(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["darkroom", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), captured.out, captured.err)

    return darkroom


@pytest.fixture
def stack_file(tmp_path: Path) -> Path:
    """What a running stack leaves for the commands beside it; nothing listens at its
    addresses.
    """
    path = tmp_path / "state" / STACK_FILE
    path.parent.mkdir()
    path.write_text(
        "".join(
            f"{PREFIX}{name}={shlex.quote(value)}\n"
            for name, value in STACK.items()
            if name != "API_KEY"
        )
    )
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"never sent")
    return path
