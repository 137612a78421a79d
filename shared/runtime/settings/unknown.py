"""Environment variables that look like settings and are none."""

from __future__ import annotations

import os
from difflib import get_close_matches

from shared.runtime.settings.base import PREFIX
from shared.runtime.settings.settings import Settings, variable

TEST_PREFIXES = (f"{PREFIX}TEST_", f"{PREFIX}CHAOS_")
"""Beginnings of variables that tests read and that are no settings."""


def unknown_variables() -> dict[str, str]:
    """Each unknown variable, with the variable of the setting that resembles it, or
    "".
    """
    return {
        name: _nearest(_setting(name))
        for name in sorted(os.environ)
        if _looks_like_a_setting(name) and _setting(name) not in Settings.model_fields
    }


def _looks_like_a_setting(name: str) -> bool:
    upper = name.upper()
    return upper.startswith(PREFIX) and not upper.startswith(TEST_PREFIXES)


def _setting(name: str) -> str:
    return name[len(PREFIX) :].lower()


def _nearest(setting: str) -> str:
    matches = get_close_matches(setting, Settings.model_fields, 1)
    return variable(matches[0]) if matches else ""
