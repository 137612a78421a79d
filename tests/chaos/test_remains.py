"""The judge of what is left over: words, files and deaths that were planted must be
found, and growth be seen.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shared.runtime.settings import Settings
from tests.chaos import footprint, remains
from tests.chaos.footprint import MIB, Footprint, Sample
from tests.chaos.runs import SCRATCH, WORKER_LOGS
from tests.chaos.uploads import ALBUM, USERS


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """With empty logs and a broker that holds nothing."""
    for folder in (
        tmp_path / "state" / "logs",
        tmp_path / WORKER_LOGS,
        tmp_path / SCRATCH,
    ):
        folder.mkdir(parents=True)
    monkeypatch.setattr("shared.broker.dead_letters.letters", lambda _: [])
    settings = Settings.given(
        pepper="geheim", broker_url="redis://:parole@127.0.0.1:1/0"
    )
    return SimpleNamespace(
        folder=tmp_path / "state",
        settings=settings,
        store=SimpleNamespace(unfinished=lambda _: []),
    )


@pytest.mark.parametrize("word", ["geheim", "parole", ALBUM, USERS[1]])
def test_a_private_word_in_a_log_is_found(world: Any, word: str) -> None:
    assert remains.leaks(world) == []
    (world.folder.parent / WORKER_LOGS / "worker-1.log").write_text(
        f"something {word} something"
    )
    assert len(remains.leaks(world)) == 1


def test_a_private_word_in_a_dead_letter_is_found(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter = SimpleNamespace(body=b"{}", detail=f"{ALBUM}/1.png", headers={})
    monkeypatch.setattr("shared.broker.dead_letters.letters", lambda _: [letter])
    assert remains.leaks(world) == ["a user's key in dead letters"]


def test_only_secrets_count_in_the_log_of_a_server(world: Any) -> None:
    log = world.folder / "logs" / "seaweedfs.log"
    log.write_text(f"deleted {ALBUM}/1.png")
    assert remains.leaks(world) == []
    log.write_text("parole")
    assert remains.leaks(world) == ["broker_url in seaweedfs.log"]


def test_files_and_parts_that_are_left_are_found(world: Any) -> None:
    assert remains.left_behind(world) == []
    (world.folder.parent / SCRATCH / "tmp1").touch()
    world.store.unfinished = lambda bucket: (
        [SimpleNamespace(key="k")] if bucket == "uploads" else []
    )
    assert remains.left_behind(world) == ["scratch file tmp1", "parts of k in uploads"]


@pytest.mark.parametrize(
    ("program", "status", "found"),
    [
        ("worker-1", 70, 1),
        ("handlers", 1, 1),
        ("handlers", -11, 1),
        ("recorder", 0, 0),
        ("sweep", -9, 0),
        ("valkey", 1, 0),
    ],
)
def test_a_process_that_fell_by_itself_is_found(
    world: Any, program: str, status: int, found: int
) -> None:
    line = {
        "event": "process.died",
        "program": program,
        "status": status,
        "timestamp": "now",
    }
    (world.folder / "logs" / "supervisor.log").write_text(
        f"no JSON\n{json.dumps(line)}\n"
    )
    assert len(remains.died(world)) == found


@pytest.mark.parametrize(
    ("mib_per_min", "files", "grows"), [(0.1, 0, False), (3, 0, True), (0, 20, True)]
)
def test_growth_is_seen(mib_per_min: float, files: int, grows: bool) -> None:
    """Of a process that lives long; what it took while it started does not count."""
    seen = Footprint()
    seen._samples["worker-1", 1] = [
        Sample(
            float(s),
            int(MIB * (100 + (s > 30) * 200 + s / 60 * mib_per_min)),
            20 + files * s // 600,
        )
        for s in range(0, 600, 2)
    ]
    seen._samples["worker-2", 2] = seen._samples["worker-1", 1][
        : int(footprint.LONG_S) // 2
    ]
    (life,) = seen.lives()
    assert (life.grows, life.ours, round(life.slope, 1)) == (grows, True, mib_per_min)
