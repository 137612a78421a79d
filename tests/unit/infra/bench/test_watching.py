"""`bench metrics`: its arithmetic, and that it counts what it says."""

from __future__ import annotations

import pytest

from infra.bench.watching import MESSAGES, PROCESSES, SCRAPE_S, cost_of, counting
from shared.runtime.metrics import REGISTRY


def test_a_photos_share_of_the_scrapes_is_a_part_of_its_cost() -> None:
    """A photo that takes as long as the pause between two scrapes bears one scrape of
    each process.
    """
    assert cost_of(SCRAPE_S, 0.0, 0.01) == pytest.approx(PROCESSES * 0.01 / SCRAPE_S)
    assert cost_of(0.1, 0.0005, 0.0) == pytest.approx(0.005)


def test_what_is_timed_is_what_the_processes_count() -> None:
    """In the registry that they expose."""

    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    names = (
        ("darkroom_uploads_total", {"decision": "queued"}),
        ("darkroom_photo_seconds_count", {"stage": "restore"}),
        ("darkroom_step_seconds_count", {"step": "upscale"}),
    )
    before = [value(name, **labels) for name, labels in names]
    counting()()
    assert [value(name, **labels) for name, labels in names] == [
        number + 1 for number in before
    ]
    assert MESSAGES == 5
