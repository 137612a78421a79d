"""A workflow that changes gets a new version: its results are other results, under other names."""

from __future__ import annotations

import hashlib
import json

import pytest

from shared import workflows

GOLDEN = {
    # (name, version): (contents of the file, signature with default parameters)
    ("anime", 1): ("eb2820f845e54536", "ce74fa8d2aa5fdf3"),
    ("building", 1): ("a0a9feea62a11496", "838552185c67608e"),
    ("enhance", 1): ("83b3124fdaeb523a", "58dc2190e5c6b1ca"),
    ("fast", 1): ("36044bdc6d907719", "fd40ee51ad26a08b"),
    ("oldphoto", 1): ("e168f8605d4d2fb0", "f53873dc20023f21"),
    ("portrait", 1): ("3f1d1122d3472aa0", "adc0a7185039b688"),
}


def contents(name: str) -> str:
    """Of the preset file, whatever its spacing."""
    canonical = json.dumps(json.loads((workflows.PRESETS / f"{name}.json").read_bytes()), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", workflows.presets())
def test_a_changed_workflow_has_a_new_version(name: str) -> None:
    """Edit a preset, raise its version, and write both hashes here."""
    version = workflows.presets()[name].version
    assert (name, version) in GOLDEN, f"write the hashes of {name} version {version} into this file"
    assert GOLDEN[name, version][0] == contents(name), f"{name} was changed: raise its version"


@pytest.mark.parametrize("name", workflows.presets())
def test_the_same_workflow_has_the_same_signature(name: str) -> None:
    """On every machine and in every release: tasks are named by it."""
    resolved = workflows.resolve(name)
    assert GOLDEN[name, resolved.ref.version][1] == resolved.ref.signature
