"""The README is true: every setting, error code, workflow and command stands in it."""

from pathlib import Path

import pytest

from infra.cli import COMMANDS
from shared import workflows
from shared.errors import Code
from shared.runtime.settings import PREFIX, Settings

README = (Path(__file__).parents[2] / "README.md").read_text()
NOT_OF_A_PHOTO = {
    Code.BAD_MESSAGE,
    Code.BAD_DOCUMENT,
    Code.STORAGE_UNAVAILABLE,
    Code.BROKER_UNAVAILABLE,
    Code.DATABASE_UNAVAILABLE,
    Code.DISK_FULL,
    Code.SETTINGS,
    Code.INTERNAL,
}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_explained(name: str) -> None:
    description = Settings.model_fields[name].description
    (line,) = [
        line
        for line in README.splitlines()
        if line.startswith(f"| `{PREFIX}{name.upper()}` |")
    ]
    assert description in line


@pytest.mark.parametrize("code", sorted(set(Code) - NOT_OF_A_PHOTO))
def test_every_end_of_a_photo_has_a_way_out(code: Code) -> None:
    assert f"`{code}`" in README


@pytest.mark.parametrize("name", workflows.presets())
def test_every_workflow_is_offered(name: str) -> None:
    assert f"| `{name}` |" in README


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_named(command: str) -> None:
    commands = README.partition("### Commands")[2].partition("### HTTP")[0]
    assert (
        f"`{command}" in commands
        or f"{command}`" in commands
        or f" `{command}" in commands
    )
