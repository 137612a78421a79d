"""How much a command of a person's says in the terminal."""

from __future__ import annotations

from typing import Literal

import pytest

from shared.runtime import telemetry
from shared.runtime.settings import Settings


@pytest.mark.parametrize(
    ("asked", "shown"),
    [("info", "warning"), ("debug", "debug"), ("error", "error")],
)
def test_a_command_keeps_what_only_informs_to_itself(
    asked: Literal["debug", "info", "error"],
    shown: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unless debugging was asked for."""
    levels = []
    monkeypatch.setattr(
        telemetry,
        "configure",
        lambda settings, process: levels.append((settings.log_level, process)),
    )
    telemetry.configure_command(Settings(log_level=asked), "convert")
    assert levels == [(shown, "convert")]
