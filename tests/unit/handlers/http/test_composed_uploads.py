"""Steps in place of a workflow, in a request for a ticket."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from shared import workflows
from tests.support.access_world import Town

STEPS = [
    {"step": "dehaze", "params": {"amount": 0.4}},
    {"step": "upscale", "model": "realesr-animevideov3", "params": {"scale": 2}},
]


@pytest.fixture
def town() -> Town:
    return Town()


def ask(town: Town, *scopes: Any, **wanted: Any) -> httpx2.Response:
    key, _ = town.key("ann", scopes=scopes)
    steps = {"workflow": None, "params": {}, "steps": STEPS}
    return town.post(key, **{**steps, **wanted})


def test_an_administrator_composes_a_workflow(town: Town) -> None:
    """The worker finds it in the bucket."""
    workflows.use(workflows.Shelf(town.world.store, "results"))
    try:
        answer = ask(town, "upload", "admin")
        assert answer.status_code == 201, answer.text
        name = answer.json()["post"]["fields"]["x-amz-meta-workflow"]
        assert name.startswith("composed-")
        assert [step.kind for step in workflows.resolve(name).steps] == [
            "dehaze",
            "upscale",
        ]
    finally:
        workflows.use(None)


def test_others_may_not(town: Town) -> None:
    answer = ask(town, "upload", "read")
    assert answer.status_code == 403
    assert "'admin'" in answer.json()["detail"]
    assert not list(town.world.store.list("results", "workflows/"))


@pytest.mark.parametrize(
    "wanted", [{"workflow": "fast"}, {"steps": []}, {"steps": STEPS * 5}]
)
def test_steps_stand_alone_and_are_few(town: Town, wanted: dict[str, Any]) -> None:
    assert ask(town, "upload", "admin", **wanted).status_code == 422
