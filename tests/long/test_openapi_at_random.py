"""The OpenAPI document, held against the running API by requests that are made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.test_authorisation import Town
from tests.contract.test_openapi import Who, hold, town  # noqa: F401

EXAMPLES = 30
"""Of each route, in each phase."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("who", ["operator", "user"])
def test_no_request_is_answered_otherwise_than_the_document_says(
    town: Town, tmp_path: Path, who: Who
) -> None:
    """Right ones, wrong ones, and chains of them."""
    hold(town, who, "fuzzing,stateful", tmp_path, EXAMPLES)
