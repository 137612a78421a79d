"""The simulation beside what can be reckoned by hand."""

from __future__ import annotations

import random
import statistics
from dataclasses import replace

import pytest

from infra.simulate.fleet import Fleet, Photo, simulate

ONE = Fleet(service_s=1.0, overhead_s=0.0, start_s=0.0, minimum=1, maximum=1)


def poisson(count: int, per_s: float) -> list[Photo]:
    drawn = random.Random(5)
    at_s = 0.0
    photos = []
    for _ in range(count):
        at_s += drawn.expovariate(per_s)
        photos.append(Photo(at_s))
    return photos


def test_photos_wait_for_those_before_them() -> None:
    run = simulate([Photo(0.0), Photo(0.0), Photo(5.0)], ONE)
    assert run.waits_s == [0.0, 1.0, 0.0]
    assert run.busy_s == 3.0
    assert run.end_s == 6.0


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_a_single_worker_is_the_queue_of_the_textbook(load: float) -> None:
    """M/D/1: the mean wait is load / (2 (1 - load)) times the service time, after
    Pollaczek and Khinchine.
    """
    run = simulate(poisson(20_000, load), ONE)
    expected = load / (2 * (1 - load))
    assert statistics.mean(run.waits_s) == pytest.approx(expected, rel=0.08)


def test_the_spread_of_the_work_keeps_its_mean() -> None:
    fleet = replace(ONE, service_spread=0.8)
    run = simulate(poisson(20_000, 0.1), fleet)
    assert run.busy_s / 20_000 == pytest.approx(1.0, rel=0.05)


def test_the_first_worker_comes_when_a_photo_waits_and_leaves_when_none_does() -> None:
    fleet = Fleet(service_s=1.0, start_s=60.0, cooldown_s=100.0, overhead_s=0.0)
    run = simulate([Photo(10.0), Photo(2000.0)], fleet)
    # The rule looks each 15 s.
    assert run.waits_s == [15.0 + 60.0 - 10.0, pytest.approx(2010.0 + 60.0 - 2000.0)]
    assert any(workers == 0 for at_s, workers, _ in run.history if at_s > 100)


def test_more_photos_bring_more_workers_up_to_the_most() -> None:
    photos = [Photo(0.0) for _ in range(1000)]
    fleet = Fleet(service_s=1.0, start_s=10.0, maximum=5, photos_per_worker=30)
    run = simulate(photos, fleet)
    assert max(workers for _, workers, _ in run.history) == 5
    fewest = simulate(photos, replace(fleet, maximum=1))
    assert fewest.end_s > 4 * run.end_s


def test_a_worker_that_is_taken_away_loses_no_photo() -> None:
    """What it had is done by others, and waits once more."""
    photos = [Photo(number * 2.0, 300.0) for number in range(40)]
    fleet = Fleet(service_s=1.0, start_s=30.0, minimum=4, maximum=4)
    calm = simulate(photos, fleet)
    taken = simulate(photos, replace(fleet, spot_per_h=4.0))
    assert taken.interruptions > 3
    assert taken.busy_s == calm.busy_s == 40 * 300.0
    assert taken.end_s > calm.end_s


def test_a_seed_gives_the_same_run() -> None:
    fleet = Fleet(service_s=1.0, service_spread=1.0, spot_per_h=2.0)
    photos = poisson(500, 0.5)
    first, second = simulate(photos, fleet, 3), simulate(photos, fleet, 3)
    assert first == second
    assert first != simulate(photos, fleet, 4)
