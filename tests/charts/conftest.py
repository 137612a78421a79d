"""Charts and templates for clouds. Not part of `make test`: `make charts` runs it, and
so does CI.
"""

from __future__ import annotations

import os

import pytest

from tests.charts import tools


@pytest.fixture(scope="session", autouse=True)
def _tools() -> None:
    """In CI a missing tool is a failure, elsewhere a reason to skip."""
    reason = tools.missing()
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
