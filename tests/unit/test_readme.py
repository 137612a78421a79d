"""README and documentation are true: every setting, error code, workflow and command
stands in them.
"""

from pathlib import Path

import pytest

from infra.cli import COMMANDS
from shared import workflows
from shared.errors import Code
from shared.runtime.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
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
REFERENCE = ROOT / "docs" / "reference"


def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text()


def test_the_readme_is_read_in_three_minutes() -> None:
    assert len(README.splitlines()) <= 200


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_explained(name: str) -> None:
    description = Settings.model_fields[name].description
    (line,) = [
        line
        for line in page("settings").splitlines()
        if line.startswith(f"| `{PREFIX}{name.upper()}` |")
    ]
    assert description in line


@pytest.mark.parametrize("code", sorted(Code))
def test_every_error_has_a_way_out(code: Code) -> None:
    (line,) = [
        line
        for line in page("error-codes").splitlines()
        if line.startswith(f"| `{code}` |")
    ]
    _, _, status, way_out, _ = line.split("|")
    assert status.strip() or code in NOT_OF_A_PHOTO
    assert way_out.strip()


@pytest.mark.parametrize("name", workflows.presets())
def test_every_workflow_is_offered(name: str) -> None:
    assert f"| `{name}` |" in page("workflows")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_named(command: str) -> None:
    assert f"## `darkroom {command}`\n" in page("commands")
