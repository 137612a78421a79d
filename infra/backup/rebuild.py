"""A whole embedded stack from nothing but a backup, into an empty state folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.backup.index import Index
from infra.backup.restore import Restored, fill, secrets
from infra.backup.vault import Vault
from infra.local.stack import Stack
from infra.local.state import make_folders, write_private
from shared.errors import SettingsError
from shared.runtime.settings import Settings

UNFINISHED = "restore.unfinished"
"""File in a state folder whose restore did not come to its end."""


def rebuild(
    given: Settings,
    vault: Vault,
    index: Index,
    key: Path,
    said: Callable[[str], None] = lambda _: None,
) -> Restored:
    """Restore into the state folder of `given`; nothing runs there afterwards.

    What an interrupted restore left is deleted first. Raises `SettingsError` where
    anything else lies there, and leaves an empty folder where it fails.
    """
    folder = given.state_dir.expanduser().resolve()
    require_empty(folder)
    known = secrets(vault, index, key)
    make_folders(folder)
    (folder / UNFINISHED).touch()
    try:
        report = _rebuild(given, folder, known, vault, index, said)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    (folder / UNFINISHED).unlink()
    return report


def require_empty(folder: Path) -> None:
    """Delete what an interrupted restore left. Raises `SettingsError` where anything
    else lies in `folder`.
    """
    if (folder / UNFINISHED).exists():
        shutil.rmtree(folder)
    if folder.exists() and any(folder.iterdir()):
        raise SettingsError(
            f"{folder} is not empty, and a backup is restored into an empty state folder only; "
            "move it away, or name another one by DARKROOM_STATE_DIR"
        )


def require_finished(folder: Path) -> None:
    """Raises `SettingsError` where a restore did not come to its end: half of a stack
    must not be taken for a whole one.
    """
    if (folder / UNFINISHED).exists():
        raise SettingsError(
            f"a restore into {folder} was interrupted; run `darkroom restore` again"
        )


def _rebuild(
    given: Settings,
    folder: Path,
    known: dict[str, Any],
    vault: Vault,
    index: Index,
    said: Callable[[str], None],
) -> Restored:
    state = {"ports": known["ports"], "secrets": known["state"]}
    write_private(folder / "state.json", json.dumps(state, indent=2))
    said("servers")
    stack = Stack(given, servers_only=True, notifies=False)
    try:
        stack.start()
        return fill(stack.as_admin, vault, index, said)
    finally:
        stack.stop()
