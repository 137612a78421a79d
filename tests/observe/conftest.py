"""What watches Darkroom: rules and dashboards, on a real Prometheus. Not part of `make
test`: `make observe` runs it, and so does CI.
"""

from __future__ import annotations

import pytest

from tests.support.extras import needs_program

PROGRAMS = {
    "promtool": "prometheus",
    "prometheus": "prometheus",
    "amtool": "prometheus-alertmanager",
}
"""Program → the Debian package that has it."""


@pytest.fixture(scope="session", autouse=True)
def programs() -> None:
    """Skip where they are not installed; fail in CI."""
    for name, package in PROGRAMS.items():
        needs_program(name, package)
