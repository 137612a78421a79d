"""What every unit test begins with."""

from __future__ import annotations

import pytest

from shared import workflows


@pytest.fixture(autouse=True)
def built_in_workflows_alone() -> None:
    """A process knows the workflow files of one store, which was another test's."""
    workflows.use(None)
