"""The environment of this process. No other module of Darkroom reads it."""

from __future__ import annotations

import os

PREFIX = "DARKROOM_"
"""Beginning of the name of every setting's variable."""
TEST_PREFIXES = (f"{PREFIX}TEST_", f"{PREFIX}CHAOS_")
"""Beginnings of variables that tests read and that are no settings."""


def variables() -> dict[str, str]:
    """All variables, by their names in upper case."""
    return {name.upper(): value for name, value in os.environ.items()}


def state_dir() -> str | None:
    """The folder of the stack, where the environment names one."""
    return os.environ.get(f"{PREFIX}STATE_DIR") or None


def wants_no_colour() -> bool:
    """Whether the environment says `NO_COLOR`, as https://no-color.org has it."""
    return bool(os.environ.get("NO_COLOR"))


def wants_traces() -> bool:
    """Whether the environment names a collector of traces, as OpenTelemetry has it."""
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return any(os.environ.get(name) for name in names)


def visible_devices() -> str | None:
    """What CUDA shows this process: numbers or UUIDs, with commas; None: every device."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def show_devices(named: str) -> None:
    """Have CUDA show these devices, in this process and its children; empty: none.

    CUDA reads it once, when it is first used.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = named


def names_like_settings() -> list[str]:
    """Variables that begin as a setting's does, sorted."""
    return [
        name
        for name in sorted(os.environ)
        if name.upper().startswith(PREFIX)
        and not name.upper().startswith(TEST_PREFIXES)
    ]
