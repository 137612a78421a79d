"""The address and the key of an API, as a client finds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.local.stack import _stack_file
from shared.runtime.connection import STACK_FILE, Connection
from shared.runtime.environment import PREFIX
from shared.runtime.settings import Settings

ODD_KEY = """it's $HOME; "quoted" \\ `x` = spaced"""


@pytest.fixture(autouse=True)
def state_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of state, which the environment names; it names nothing else."""
    for name in ("API_URL", "API_KEY"):
        monkeypatch.delenv(f"{PREFIX}{name}", raising=False)
    monkeypatch.setenv(f"{PREFIX}STATE_DIR", str(tmp_path))
    return tmp_path


def test_without_a_stack_nothing_is_known(state_dir: Path) -> None:
    assert Connection.load() == Connection("", "", state_dir)


def test_the_file_of_a_running_stack_is_read_as_the_settings_read_it(
    state_dir: Path,
) -> None:
    """Whatever the key holds."""
    stack = Settings(api_url="http://127.0.0.1:8080", api_key=ODD_KEY)
    (state_dir / STACK_FILE).write_text(_stack_file(stack))
    assert Settings.load().api_key.get_secret_value() == ODD_KEY
    expected = Connection("http://127.0.0.1:8080", ODD_KEY, state_dir)
    assert Connection.load() == expected


def test_the_environment_wins_over_the_file(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In upper or lower case, as with every setting."""
    (state_dir / STACK_FILE).write_text("DARKROOM_API_URL='http://a'\n")
    monkeypatch.setenv("darkroom_api_url", "http://b")
    assert Connection.load().api_url == Settings.load().api_url == "http://b"


def test_the_key_is_not_shown() -> None:
    assert "secret" not in repr(Connection("http://a", "secret", Path()))
