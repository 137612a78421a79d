"""A workflow that changes gets a new version: its results are other results, under
other names.
"""

from __future__ import annotations

import hashlib
import json

import pytest

from shared import workflows

GOLDEN = {
    # (name, version): (contents of the file, signature with default parameters)
    ("anime", 1): ("eb2820f845e54536", "ce74fa8d2aa5fdf3"),
    ("building", 1): ("11661672d1e157fd", "11a444a5d2bb2285"),
    ("dehaze", 1): ("e6963767e32447b3", "961abc630b459024"),
    ("denoise", 1): ("d56ca93a72afa331", "611689fca22751e9"),
    ("enhance", 1): ("074ea7d23ed03aed", "b74011cefd3023b7"),
    ("faces", 1): ("65521de6d961c480", "1f2afde0fbfb5502"),
    ("fast", 1): ("36044bdc6d907719", "fd40ee51ad26a08b"),
    ("oldphoto", 1): ("b688639517debfbd", "8d9c97a6252671ce"),
    ("portrait", 1): ("ddeece3687d0b005", "fd92211ff59fb458"),
    ("repair", 1): ("928e8c4da4057676", "c0661e6e8ee13d3e"),
}


def contents(name: str) -> str:
    """Of the preset file, whatever its spacing."""
    canonical = json.dumps(
        json.loads((workflows.PRESETS / f"{name}.json").read_bytes()), sort_keys=True
    )
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
