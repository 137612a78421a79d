"""`darkroom backup`, without its servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from infra.backup.run import Report, back_up
from infra.commands import backup
from infra.local.state import State
from shared.runtime.settings import Settings
from tests.support.memory_store import MemoryStore


@pytest.mark.parametrize("is_embedded", [True, False])
def test_a_stack_that_makes_no_backup_by_itself_draws_the_key_of_its_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_embedded: bool
) -> None:
    """Without it a backup made by hand holds no secrets, and orphans every user. Servers
    elsewhere have their secrets elsewhere.
    """
    settings = Settings(
        state_dir=tmp_path / "state",
        models_dir=tmp_path / "models",
        pepper=SecretStr("chilli"),
        backup_interval_s=0,
    )
    if is_embedded:
        settings.state_dir.mkdir()
        State(settings.state_dir, {}, {}).save()

    def made(settings: Settings, full: bool, **_: Any) -> Report:
        return back_up(settings, full, store=MemoryStore())  # type: ignore[arg-type]

    monkeypatch.setattr(backup, "need_servers", lambda: settings)
    monkeypatch.setattr(backup, "back_up", made)
    result = CliRunner().invoke(backup.app, ["backup", "--json"])
    assert json.loads(result.stdout)["secrets"] is is_embedded, result.output
    key = tmp_path / "state-backup.key"
    assert key.exists() is is_embedded
    assert ("Drew the key of the backup" in result.stderr) is is_embedded
