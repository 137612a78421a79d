"""What watches Darkroom: rules and dashboards, on a real Prometheus. Not part of `make
test`: `make observe` runs it, and so does CI.
"""

from __future__ import annotations

import os
import shutil

import pytest

PROGRAMS = {
    "promtool": "prometheus",
    "prometheus": "prometheus",
    "amtool": "prometheus-alertmanager",
}
"""Program → the Debian package that has it."""


@pytest.fixture(scope="session", autouse=True)
def programs() -> None:
    """Skip where they are not installed; fail in CI."""
    missing = sorted(
        {package for name, package in PROGRAMS.items() if not shutil.which(name)}
    )
    if not missing:
        return
    why = f"install {' '.join(missing)} (apt)"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)
