"""A whole drill on real servers: not part of `make test`, as it takes minutes. `make
drill-tests` runs it, and so does CI.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import darkroom

SCENARIOS = ("workflow", "release", "model", "permission", "standby", "database")
"""Those that need no further stack."""
FAULT = {name: f"{name}: " for name in SCENARIOS}


@pytest.fixture(scope="module")
def printed(state_dir: Callable[[str], Path]) -> dict[str, Any]:
    """What a drill prints where there is no backup: a stack of its own is lost."""
    folder = state_dir("drill")
    names = ",".join(SCENARIOS)
    arguments = ("drill", "--photos", "3", "--scenario", names, "--json")
    done = darkroom(*arguments, state_dir=folder)
    lines = done.stdout.splitlines()
    assert len(lines) == 1, done.stderr
    found: dict[str, Any] = json.loads(lines[0])
    print(json.dumps({name: found[name] for name in ("rto_s", "rpo_s", "seconds")}))
    return found


def test_everything_comes_back(printed: dict[str, Any]) -> None:
    """Every checksum is right, and photos restored again are the same, bit by bit."""
    assert printed["checksum_mismatches"] == 0
    assert printed["reruns"] == 3
    assert printed["reruns_identical"] is True
    assert printed["rto_s"] is not None
    assert printed["rpo_s"] is not None


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_fault_is_found_and_named(printed: dict[str, Any], name: str) -> None:
    made = {scenario["name"]: scenario for scenario in printed["scenarios"]}[name]
    assert made["found"], made
    assert made["finding"].startswith(FAULT[name])
    assert made["finding"] in printed["findings"]
    assert made["to_do"]


def test_nothing_else_was_found(printed: dict[str, Any]) -> None:
    assert len(printed["findings"]) == len(SCENARIOS)
    assert printed["passed"] is True


def test_the_protocol_lies_beside_the_state_folder(printed: dict[str, Any]) -> None:
    page = Path(printed["protocol"])
    assert "Protocol of a drill" in page.read_text()
    written = json.loads(page.with_suffix(".json").read_text())
    assert written["findings"] == printed["findings"]
