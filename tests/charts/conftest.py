"""Charts and templates for clouds. Not part of `make test`: `make charts` runs it, and
so does CI.
"""

from __future__ import annotations

import pytest

from tests.charts import tools
from tests.support.extras import without


@pytest.fixture(scope="session", autouse=True)
def _tools() -> None:
    """In CI a missing tool is a failure, elsewhere a reason to skip."""
    reason = tools.missing()
    if reason:
        without(reason)
