"""The installation's own workflows: what may stand in a file, and which file counts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared import workflows
from shared.errors import Code, PermanentError
from shared.uploads import keys
from shared.workflows import limits, own
from tests.support.fake_clock import FakeClock
from tests.support.memory_store import MemoryStore

BUCKET = "results"
STEPS = Path(__file__).parents[4] / "gpu_worker" / "steps"


def file(**changes: Any) -> dict[str, Any]:
    """A workflow file that is fine, but for `changes`."""
    scale = {
        "type": "number",
        "default": 2,
        "minimum": 1,
        "maximum": 3,
        "description": "Output side over input side.",
    }
    words = {"title": "Soft", "description": "Less haze, and larger."}
    upscale = {
        "step": "upscale",
        "model": "realesr-animevideov3",
        "params": {"scale": scale},
        "fixed": {"strength": 0.5},
    }
    haze = {"step": "dehaze", "fixed": {"amount": 0.3}}
    whole = {"name": "soft", "version": 1, **words, "zh": words}
    return {**whole, "steps": [haze, upscale], **changes}


def step(number: int, **changes: Any) -> list[dict[str, Any]]:
    """The steps of `file`, one of them changed."""
    steps: list[dict[str, Any]] = file()["steps"]
    steps[number] |= changes
    return steps


def data(**changes: Any) -> bytes:
    return json.dumps(file(**changes)).encode()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(autouse=True)
def shelf(store: MemoryStore, clock: FakeClock) -> Iterator[workflows.Shelf]:
    found = workflows.Shelf(store, BUCKET, clock.monotonic)
    workflows.use(found)
    yield found
    workflows.use(None)


def put(store: MemoryStore, **changes: Any) -> None:
    whole = file(**changes)
    place = keys.own_workflow(whole["name"], whole["version"])
    store.put(BUCKET, place, data(**changes), "application/json")


def test_an_own_workflow_is_resolved_like_a_built_in_one(store: MemoryStore) -> None:
    put(store)
    found = workflows.resolve("soft", {"scale": 3})
    assert found.is_own
    assert [dict(step.params) for step in found.steps] == [
        {"amount": 0.3},
        {"strength": 0.5, "scale": 3.0},
    ]
    assert found.scale == 3
    assert workflows.offered()[-1][0].name == "soft"


def test_a_waiting_photo_keeps_the_version_that_it_came_with(
    store: MemoryStore, clock: FakeClock
) -> None:
    put(store)
    first = workflows.resolve("soft").ref
    put(store, version=2, steps=step(0, fixed={"amount": 0.9}))
    clock.advance(own.KNOWN_FOR_S)
    assert workflows.resolve("soft").ref.version == 2
    again = workflows.resolve("soft", first.params, first.version).ref
    assert again == first


def test_the_signature_covers_the_whole_file(store: MemoryStore) -> None:
    """Whoever alters a version in its place makes other tasks of it."""
    put(store)
    first = workflows.resolve("soft").ref.signature
    put(store, steps=step(0, fixed={"amount": 0.9}))
    workflows.use(workflows.Shelf(store, BUCKET))
    assert workflows.resolve("soft").ref.signature != first


def test_a_workflow_is_known_as_soon_as_somebody_asks_for_it(
    store: MemoryStore,
) -> None:
    with pytest.raises(PermanentError, match="no workflow 'soft'; there are anime"):
        workflows.resolve("soft")
    put(store)
    assert workflows.resolve("soft").ref.name == "soft"


def test_a_broken_file_costs_only_itself(store: MemoryStore) -> None:
    """And the version before it is offered on."""
    put(store)
    put(store, name="other")
    store.put(BUCKET, keys.own_workflow("soft", 2), b"{", "application/json")
    store.put(BUCKET, keys.own_workflow("third", 1), data(), "application/json")
    store.put(BUCKET, f"{keys.OWN_WORKFLOWS}notes.txt", b"", "text/plain")
    put(store, name="fast")
    put(store, name="lost", steps=step(1, model="no-such-model"))
    names = [workflow.name for workflow, _ in workflows.offered()]
    assert names[len(workflows.presets()) :] == ["other", "soft"]
    assert workflows.resolve("soft").ref.version == 1
    assert not workflows.resolve("fast").is_own
    faults = "\n".join(workflows.own_faults())
    for named in ("soft.2.json", "third.1.json", "notes.txt", "fast.1.json", "lost 1"):
        assert named in faults


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"name": "fast"}, "built in"),
        ({"name": "../x"}, "small letters"),
        ({"version": 0}, "not from 1"),
        ({"steps": []}, "0 steps"),
        ({"steps": file()["steps"][:1] * 13}, "13 steps"),
        ({"title": "x" * 81}, "title"),
        ({"colour": "red"}, "colour"),
        ({"steps": step(0, fixed={})}, "needs amount"),
        ({"steps": step(0, fixed={"amount": 2})}, "from 0 to 1"),
        ({"steps": step(0, fixed={"amount": 1, "speed": 9})}, "speed"),
        ({"steps": step(1, model=None)}, "needs a `model`"),
        ({"steps": step(1, fixed={"scale": 2})}, "both in params and in fixed"),
        (
            {"steps": [{"step": "finish", "gated": True, "fixed": {"sharpen": 0}}]},
            "no gate",
        ),
        (
            {"steps": step(0, gated=True, fixed={"force": True})},
            "no parameter 'force'",
        ),
    ],
)
def test_what_would_fail_every_photo_is_refused(
    changes: dict[str, Any], rule: str
) -> None:
    with pytest.raises(PermanentError) as refused:
        own.parsed(data(**changes), "soft.json")
    assert refused.value.code == Code.BAD_DOCUMENT
    assert "soft.json" in refused.value.detail
    assert rule in refused.value.detail


def test_no_range_is_wider_than_a_built_in_one() -> None:
    """A size that no built-in workflow allows may take all memory of a worker."""
    wide = step(1)
    wide[1]["params"]["scale"]["maximum"] = 16
    with pytest.raises(PermanentError, match="must stay within a number from 1 to 4"):
        own.parsed(data(steps=wide), "soft.json")
    with pytest.raises(PermanentError, match="65,536 that are allowed"):
        own.parsed(b" " * (own.MOST_BYTES + 1), "soft.json")


def test_a_fixed_scale_is_at_most_the_models(store: MemoryStore) -> None:
    double = {"step": "upscale", "model": "scunet-psnr", "fixed": {"scale": 2}}
    put(store, steps=[double])
    with pytest.raises(PermanentError):
        workflows.resolve("soft")
    found = own.parsed(data(steps=[double]), "soft.json")
    assert workflows.fault_of(found) is not None


def test_what_a_step_needs_is_what_it_reads() -> None:
    """`step.params["…"]` without a default, in the step's own module."""
    for kind, needed in limits.NEEDED.items():
        name = "final_touch" if kind == "finish" else kind
        source = (STEPS / f"{name}.py").read_text()
        read = set(re.findall(r'step\.params\["(\w+)"\]', source))
        # It is read only where it was given.
        read -= {"denoise"}
        # Memory is set aside by it, though the step itself has a default.
        assert read | ({"scale"} if kind == "upscale" else set()) == set(needed)


def test_a_look_sets_what_a_gated_step_leaves_open(store: MemoryStore) -> None:
    put(store, steps=[{"step": "dehaze", "gated": True}])
    assert workflows.resolve("soft").steps[0].gated
