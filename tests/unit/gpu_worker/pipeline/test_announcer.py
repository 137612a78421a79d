"""What the workers announce in the bucket for results, and when."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpu_worker import abilities
from gpu_worker.engines.auto import AutoEngine
from gpu_worker.pipeline.announcer import AGAIN_S, REFUSED_S, RENEW_S, Announcer
from shared import offers
from shared.offers import Announcement
from shared.runtime.settings import Settings
from shared.uploads import keys
from tests.support.fake_clock import FakeClock
from tests.support.memory_store import MemoryStore


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(models_dir=tmp_path / "models")


def survey(settings: Settings) -> Announcement:
    return abilities.survey(AutoEngine(settings), settings)


class Host:
    """A worker's announcer whose machine a test changes."""

    def __init__(self, store: MemoryStore, name: str, settings: Settings) -> None:
        self.found = survey(settings).model_copy(update={"host": name})
        self.announcer = Announcer(store, settings, store.clock, lambda: self.found)  # type: ignore[arg-type]

    def change(self, release: str) -> None:
        self.found = self.found.model_copy(update={"release": release})
        self.announcer.look()


def said(store: MemoryStore) -> set[str]:
    return {key for key in store.keys("results") if key.startswith(keys.WORKERS)}


def test_workers_that_can_do_the_same_are_one_kind(settings: Settings) -> None:
    """A restart adds nothing, a change takes the place of what the same host said
    before, not of what others said.
    """
    store = MemoryStore()
    one, two = Host(store, "a" * 16, settings), Host(store, "b" * 16, settings)
    for host in (one, one, two, Host(store, "a" * 16, settings)):
        host.announcer.look()
    assert len(said(store)) == 2
    assert len({keys.kind_of_worker(key) for key in said(store)}) == 1
    one.change("9.9.9")
    assert said(store) == {one.found.place(), two.found.place()}
    assert one.found.kind != two.found.kind


def test_it_is_written_again_when_it_is_a_day_old_or_gone(settings: Settings) -> None:
    clock = FakeClock()
    store = MemoryStore(clock)
    host = Host(store, "a" * 16, settings)
    host.announcer.look()
    first = store.head("results", host.found.place()).last_modified
    clock.advance(AGAIN_S)
    host.announcer.look()
    assert store.head("results", host.found.place()).last_modified == first
    clock.advance(RENEW_S)
    host.announcer.look()
    assert store.head("results", host.found.place()).last_modified > first
    store.delete("results", host.found.place())
    clock.advance(AGAIN_S)
    host.announcer.look()
    assert said(store) == {host.found.place()}


def test_what_no_worker_renewed_for_a_week_goes_when_another_announces(
    settings: Settings,
) -> None:
    clock = FakeClock()
    store = MemoryStore(clock)
    Host(store, "a" * 16, settings).announcer.look()
    clock.advance(offers.STALE.total_seconds() + 1)
    other = Host(store, "b" * 16, settings)
    other.announcer.look()
    assert said(store) == {other.found.place()}


def test_a_worker_that_may_not_announce_works_all_the_same(settings: Settings) -> None:
    store = MemoryStore()
    host = Host(store, "a" * 16, settings)
    store.unavailable = True
    host.announcer.look()
    store.unavailable = False
    host.announcer.look()
    assert said(store) == set(), "the store is not asked again at once"
    store.clock.advance(REFUSED_S)
    host.announcer.look()
    assert said(store) == {host.found.place()}
