"""Tests of an optional extra are skipped where it is not installed, and fail in CI, which installs all of them."""

from __future__ import annotations

import importlib.util
import os

import pytest


def needs(package: str, extra: str) -> None:
    """Call at the top of a test module."""
    if importlib.util.find_spec(package) is None:
        reason = f"{package} is not installed; pip install 'darkroom[{extra}]'"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason, allow_module_level=True)
