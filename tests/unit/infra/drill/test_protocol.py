"""The protocol of a drill: what passes, and what it looks like."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from infra.drill.drill import named
from infra.drill.photos import png
from infra.drill.protocol import Protocol, Scenario
from infra.drill.scenarios import SCENARIOS


@pytest.fixture
def protocol() -> Protocol:
    """Of a drill that went well."""
    made = Protocol.begin()
    made.rto_s, made.rpo_s, made.reruns, made.reruns_identical = 90.0, 60.0, 3, True
    return made


def test_a_drill_without_a_finding_in_time_passes(protocol: Protocol) -> None:
    assert protocol.passed


@pytest.mark.parametrize(
    "wrong",
    [
        {"rto_s": None},
        {"rto_s": 1801.0},
        {"rpo_s": 3601.0},
        {"checksum_mismatches": 1},
        {"reruns_identical": False},
        {"findings": ["rerun: one differs"]},
        {"scenarios": [Scenario("disk", False, "disk: not noticed", "")]},
    ],
)
def test_whatever_is_wrong_makes_it_fail(
    protocol: Protocol, wrong: dict[str, object]
) -> None:
    for name, value in wrong.items():
        setattr(protocol, name, value)
    assert not protocol.passed


def test_a_fault_that_was_made_and_found_is_no_failure(protocol: Protocol) -> None:
    protocol.scenarios.append(Scenario("disk", True, "disk: gone", "restore"))
    protocol.findings.append("disk: gone")
    assert protocol.passed


def test_a_step_is_noted_also_where_it_fails(protocol: Protocol) -> None:
    with pytest.raises(KeyError), protocol.step("start it"):
        raise KeyError
    assert [step.name for step in protocol.steps] == ["start it"]


def test_both_forms_are_written_and_quote_nothing_as_markup(
    protocol: Protocol, tmp_path: Path
) -> None:
    protocol.findings.append("<script>alert(1)</script>")
    page = protocol.write(tmp_path)
    assert "<script" not in page.read_text()
    HTMLParser().feed(page.read_text())
    found = json.loads(page.with_suffix(".json").read_text())
    names = {"rto_s", "rpo_s", "checksum_mismatches", "reruns_identical", "findings"}
    assert names <= found.keys()
    assert "\n" not in json.dumps(protocol.printed())


def test_scenarios_are_named_one_by_one_or_all() -> None:
    assert named("") == []
    assert set(named("all")) == {
        "machine",
        "disk",
        "database",
        "broker",
        "workflow",
        "release",
        "model",
        "permission",
        "standby",
        "partition",
    }
    assert named("disk,release") == ["disk", "release"]
    assert list(SCENARIOS)[-1] == "machine"
    with pytest.raises(KeyError):
        named("flood")


def test_photos_of_the_drill_differ_and_are_the_same_at_each_drill() -> None:
    assert png(1) == png(1)
    assert png(1) != png(2)
