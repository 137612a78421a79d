"""A workflow that changes gets a new version: its results are other results, under
other names.
"""

from __future__ import annotations

import hashlib
import json

import pytest

from shared import workflows
from shared.workflows import resolution

GOLDEN = {
    # (name, version): (contents of the file, signature with default parameters)
    ("anime", 1): ("7de77792360f464d", "ce74fa8d2aa5fdf3"),
    ("auto", 2): ("66f59f1989cee4a9", "e82e3cc48019fb53"),
    ("building", 2): ("f8b542f28668ac74", "e2dd5d085af9683d"),
    ("dehaze", 1): ("eff34318e5fa5196", "961abc630b459024"),
    ("denoise", 2): ("345435d748286991", "061e9675dd4afeb0"),
    ("enhance", 1): ("a54a38be6be42085", "b74011cefd3023b7"),
    ("faces", 3): ("cfbb1455c4a966a7", "42ce79da8706f02b"),
    ("fast", 1): ("30bfa84b47265d22", "fd40ee51ad26a08b"),
    ("oldphoto", 2): ("9e51c3bb5e9f6b62", "2eddeac67d895925"),
    ("portrait", 2): ("79f26d3d44eaaa31", "fd4b67db477b200a"),
    ("repair", 1): ("20fd61ab540fa671", "3d23f4a302f71544"),
}


def contents(name: str) -> str:
    """Of the preset file, whatever its spacing; without what is only offered to people,
    its Chinese words and usual values.
    """
    preset = json.loads((workflows.PRESETS / f"{name}.json").read_bytes())
    preset.pop("zh")
    for step in preset["steps"]:
        for parameter in step.get("params", {}).values():
            parameter.pop("examples", None)
    canonical = json.dumps(preset, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", workflows.presets())
def test_a_changed_workflow_has_a_new_version(name: str) -> None:
    """Edit a preset, raise its version, and write both hashes here."""
    version = workflows.presets()[name].version
    assert (name, version) in GOLDEN, (
        f"write the hashes of {name} version {version} into this file"
    )
    assert GOLDEN[name, version][0] == contents(name), (
        f"{name} was changed: raise its version"
    )


@pytest.mark.parametrize("name", workflows.presets())
def test_the_same_workflow_has_the_same_signature(name: str) -> None:
    """On every machine and in every release: tasks are named by it."""
    resolved = workflows.resolve(name)
    assert GOLDEN[name, resolved.ref.version][1] == resolved.ref.signature


def test_a_later_parameter_is_signed_only_where_it_changes_something() -> None:
    plain = workflows.resolve("fast")
    assert workflows.resolve("fast", {"strength": 1}) == plain
    weaker = workflows.resolve("fast", {"strength": 0.5})
    assert weaker.ref.signature != plain.ref.signature


def test_the_signature_covers_the_gates_where_there_are_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Other thresholds decide in another way, so their results are others."""
    gated, ungated = workflows.resolve("portrait"), workflows.resolve("fast")
    later = workflows.gates().model_copy(update={"noisy_from": 99.0})
    monkeypatch.setattr(resolution, "gates", lambda: later)
    assert workflows.resolve("portrait").ref.signature != gated.ref.signature
    assert workflows.resolve("fast").ref.signature == ungated.ref.signature
