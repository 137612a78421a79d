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
    ("anime", 1): ("fb4481e6cc47a4aa", "ce74fa8d2aa5fdf3"),
    ("auto", 2): ("f8d71b559a13b844", "e82e3cc48019fb53"),
    ("building", 2): ("80f5fd8f785e15c4", "e2dd5d085af9683d"),
    ("dehaze", 1): ("ce1acdf875c68211", "961abc630b459024"),
    ("denoise", 2): ("bba59b862bb0a94d", "061e9675dd4afeb0"),
    ("enhance", 1): ("220bea93d0978db2", "b74011cefd3023b7"),
    ("faces", 3): ("9bb91f241f70ee11", "42ce79da8706f02b"),
    ("fast", 1): ("8ca39b222143fb09", "fd40ee51ad26a08b"),
    ("oldphoto", 2): ("986e94fdde19bf4f", "2eddeac67d895925"),
    ("portrait", 2): ("50562ab2c75584c5", "fd4b67db477b200a"),
    ("repair", 1): ("5d663c53627a4dae", "3d23f4a302f71544"),
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
