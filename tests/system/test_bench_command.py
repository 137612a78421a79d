"""`darkroom bench …` as a person runs it, on servers of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import darkroom


def test_a_bench_prints_one_json_object(tmp_path: Path) -> None:
    """Its servers are its own: the state of the caller's stack is not touched."""
    done = darkroom(
        "bench",
        "recorder",
        "--events",
        "30",
        "--rounds",
        "1",
        "--json",
        state_dir=tmp_path / "state",
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["bench"], printed["events"], set(printed["rows"])) == (
        "recorder",
        30,
        {"on_record", "executemany"},
    )
    assert not (tmp_path / "state").exists()


def test_a_device_that_sleeps_is_given_every_photo(tmp_path: Path) -> None:
    """By a real worker, before a store that is not next door; the figures are shares."""
    done = darkroom(
        *("bench", "lanes", "--photos", "20", "--device-ms", "5", "--rtt-ms", "5"),
        "--json",
        state_dir=tmp_path / "state",
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert 0 < printed["device_busy"] <= 1
    assert 0 < printed["photos_per_s"] <= 200


@pytest.mark.parametrize(
    "arguments",
    [
        ["handlers", "--uploads", "0"],
        ["backlog", "--messages", "-1"],
        ["api", "--rows", "0"],
        ["lanes", "--workers", "0"],
        ["nothing"],
    ],
)
def test_wrong_usage_starts_nothing(tmp_path: Path, arguments: list[str]) -> None:
    """Exit status 2."""
    done = darkroom("bench", *arguments, state_dir=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
