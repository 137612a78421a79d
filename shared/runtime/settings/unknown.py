"""Environment variables that look like settings and are none."""

from __future__ import annotations

from difflib import get_close_matches

from shared.runtime.environment import names_like_settings
from shared.runtime.settings.base import PREFIX
from shared.runtime.settings.settings import Settings, variable

FOR_CLIENTS = {"comfyui_url"}
"""What `darkroom env` prints beside settings, and a shell may have exported."""


def unknown_variables() -> dict[str, str]:
    """Each unknown variable, with the variable of the setting that resembles it, or
    "".
    """
    unknown = {}
    for name in names_like_settings():
        setting = name[len(PREFIX) :].lower()
        if setting not in Settings.model_fields and setting not in FOR_CLIENTS:
            unknown[name] = _nearest(setting)
    return unknown


def _nearest(setting: str) -> str:
    matches = get_close_matches(setting, Settings.model_fields, 1)
    return variable(matches[0]) if matches else ""
