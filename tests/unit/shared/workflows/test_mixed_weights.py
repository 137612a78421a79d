"""`denoise` of the workflow enhance: the weights of two models, mixed."""

from __future__ import annotations

import pytest

from shared import workflows
from shared.errors import Code, PermanentError

STRONG, WEAK = "realesr-general-x4v3", "realesr-general-wdn-x4v3"


def test_the_task_is_named_by_both_files() -> None:
    plain = workflows.resolve("enhance", {"model": STRONG})
    mixed = workflows.resolve("enhance", {"model": STRONG, "denoise": 0.5})
    assert [model.name for model in plain.models] == [STRONG]
    assert [model.name for model in mixed.models] == [STRONG, WEAK]
    assert mixed.ref.signature != plain.ref.signature
    whole = workflows.resolve("enhance", {"model": STRONG, "denoise": 1})
    assert whole == plain


def test_a_model_without_such_a_twin_is_refused_with_the_way_out() -> None:
    with pytest.raises(PermanentError, match=f"choose model={STRONG}") as refused:
        workflows.resolve("enhance", {"denoise": 0.5})
    assert refused.value.code == Code.BAD_PARAMETER
