"""Steps that a request asks for, as a workflow."""

from __future__ import annotations

import pytest

from shared import workflows
from shared.errors import Code, PermanentError
from shared.workflows.composition import ComposedStep, composed, keep
from tests.support.memory_store import MemoryStore

CLEANED = ComposedStep(step="denoise", model="scunet-psnr", params={"strength": 0.5})
LARGER = ComposedStep(step="upscale", model="realesr-animevideov3", params={"scale": 2})


def test_the_same_steps_are_the_same_workflow() -> None:
    assert composed([CLEANED, LARGER]) == composed([CLEANED, LARGER])
    assert composed([CLEANED, LARGER])[0] != composed([LARGER, CLEANED])[0]


def test_a_worker_finds_what_was_composed() -> None:
    """Two steps may have parameters of one name."""
    store = MemoryStore()
    name, data = composed([CLEANED, LARGER.model_copy(update={"params": {}})])
    keep(name, data, store, "results")
    keep(name, data, store, "results")
    workflows.use(workflows.Shelf(store, "results"))
    try:
        ref = workflows.resolve(name).ref
        found = workflows.resolve(ref.name, ref.params, ref.version)
        assert name not in [workflow.name for workflow, _ in workflows.offered()]
    finally:
        workflows.use(None)
    assert [dict(step.params) for step in found.steps] == [
        {"strength": 0.5},
        {"scale": 4},
    ]


@pytest.mark.parametrize(
    "wanted",
    [
        ComposedStep(step="upscale", params={"scale": 2}),
        ComposedStep(step="dehaze", params={"amount": 7}),
        ComposedStep(step="dehaze", params={"colour": 1}),
    ],
)
def test_steps_beyond_the_limits_are_refused(wanted: ComposedStep) -> None:
    with pytest.raises(PermanentError) as refused:
        composed([wanted])
    assert refused.value.code == Code.BAD_PARAMETER
