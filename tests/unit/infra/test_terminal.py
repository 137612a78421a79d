"""What strangers wrote is shown on a terminal as text, never obeyed."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from infra import cli
from infra.commands import dead as command
from infra.terminal import shown, shown_lines
from shared.broker import dead_letters
from shared.broker.dead_letter import DeadLetter
from shared.errors import Code, PermanentError
from shared.runtime.settings import Settings

ATTACKS = {
    "clears the screen": "\x1b[2J",
    "a title": "\x1b]0;owned\x07",
    "a link elsewhere": "\x1b]8;;https://evil.example\x1b\\here\x1b]8;;\x1b\\",
    "CSI in one character": "\x9b31m",
    "OSC in one character": "\x9d0;owned\x9c",
    "over the line": "fine\rfake",
    "back": "secret\b\b\b",
    "another line": "a\nid         of-nobody",
    "turned around": "photo\u202egpj.exe",
    "deleted": "\x7f",
}


def is_text(printed: str) -> bool:
    return all(char.isprintable() or char == "\n" for char in printed)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_every_command_to_a_terminal_is_shown_instead(attack: str) -> None:
    """Escaped, so that what was there can still be read; what is no command stays as it
    is.
    """
    assert is_text(shown(attack))
    assert "\n" not in shown(attack)
    assert shown(f"ä 修复 🙂 {attack}").startswith("ä 修复 🙂 ")
    assert shown_lines(f"one\n{attack}").startswith("one\n")


def letter(attack: str) -> DeadLetter:
    at = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
    return DeadLetter(
        "darkroom.uploads",
        attack.encode(),
        "bad_message",
        f"not {attack}",
        at,
        {"x": attack},
    )


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize("verb", [["show", "17"], ["list"]])
def test_dead_letters(
    attack: str,
    verb: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Body, headers and reason are of whoever sent the message."""
    monkeypatch.setattr(command, "need_servers", Settings)
    monkeypatch.setattr(dead_letters, "find", lambda *_: letter(attack))
    monkeypatch.setattr(dead_letters, "letters", lambda *_: [letter(attack)])
    assert is_text(printed(["dead", *verb], monkeypatch, capsys))
    told = json.loads(printed(["dead", *verb, "--json"], monkeypatch, capsys))
    assert (told[0] if verb == ["list"] else told)["body"] == attack


def printed(
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    monkeypatch.setattr(sys, "argv", ["darkroom", *arguments])
    with pytest.raises(SystemExit):
        cli.main()
    captured = capsys.readouterr()
    return captured.out + captured.err


ROW = {
    "upload_time": "2026-01-01T00:00:00Z",
    "status": "success",
    "error_code": None,
    "workflow_type": "fast",
    "width": 1,
    "height": 1,
    "duration_seconds": 1.0,
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize(
    "arguments", [["tasks"], ["task", "6f1d3f0e-0f3a-5d0c-9a55-64a81b8f0d2e"]]
)
def test_rows_of_the_log(
    attack: str,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """File names are of whoever uploaded the photo."""
    row = ROW | {"image_filename": attack, "task_id": attack}
    event = {"at": attack, "kind": attack, "upload_id": attack}
    answer: dict[str, Any] = {"items": [row], "uploads": [row], "events": [event]}
    monkeypatch.setenv("DARKROOM_API_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(200, json=answer))
    assert is_text(printed(arguments, monkeypatch, capsys))


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_sentences_of_a_server(
    attack: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is said of a failed job may have come from anywhere."""

    def fails() -> Settings:
        raise PermanentError(Code.INTERNAL, attack)

    monkeypatch.setattr(Settings, "load", fails)
    assert is_text(printed(["config"], monkeypatch, capsys))


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_what_a_door_says_of_itself(
    attack: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The health check repeats the words of whatever answers at the port."""
    monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(503, text=attack))
    assert is_text(printed(["health", "handlers"], monkeypatch, capsys))
