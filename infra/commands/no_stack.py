"""The sentence of every command that needs a stack where none runs."""

from __future__ import annotations

from pathlib import Path

from shared.errors import SettingsError


def no_stack(state_dir: Path, otherwise: str = "") -> SettingsError:
    """The error where no stack runs; `otherwise` names another way out."""
    folder = state_dir.expanduser().resolve()
    return SettingsError(
        f"no stack is running in {folder}; start one with `darkroom up`{otherwise}"
    )
