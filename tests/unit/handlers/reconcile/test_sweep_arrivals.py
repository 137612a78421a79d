"""A look at new uploads costs what is new and one listing of `uploads`, and finds each
lost notification.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from handlers.processes.sweeper import REST
from handlers.reconcile import arrivals
from handlers.reconcile.arrivals import Arrivals
from shared.errors import StorageUnavailable
from shared.uploads import keys
from tests.support.reconcile_world import LEASE_S, CountingStore, Town

LIST_S = 0.1
"""What S3 takes for a page."""
READ_S = 0.01
"""What we take to ask for it and to read it, one at a time."""


class Ledger(CountingStore):
    """Counts requests by what is asked, pages of listings each by itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.requests = Counter[str]()

    def _check(self, method: str, bucket: str, key: str) -> None:
        self.requests[f"{method} {bucket}"] += 1
        super()._check(method, bucket, key)


def town_of(**settings: Any) -> tuple[Town, Ledger]:
    town = Town(**settings)
    store = Ledger(town.clock)
    town.store = store
    object.__setattr__(town.ctx, "store", store)
    return town, store


def settled(town: Town, number: int, documents: bool = False) -> None:
    """So many uploads of yesterday, with everything that a restored photo leaves;
    nobody is to read any of it.
    """
    for n in range(number):
        ident = f"{n:08x}-0000-4000-8000-000000000000"
        town.store.put("uploads", f"users/{n % 97}/{n:06}.png", b"x", "image/png")
        for key in (
            (keys.receipt(ident), keys.record(ident), keys.result(ident))
            if documents
            else ()
        ):
            town.store.put("results", key, b"x", "application/json")
    town.later(86_400)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many ranges and pages of few objects."""
    monkeypatch.setattr(arrivals, "RANGE", 7)


def test_a_look_among_a_hundred_thousand_settled_objects_costs_their_listing_alone() -> (
    None
):
    """No receipt, no record, no reason is listed or read, and what is new is asked
    about once.
    """
    town, store = town_of()
    settled(town, 25_000, documents=True)
    looks = Arrivals(town.ctx)
    looks.look()
    town.put("users/7/lost.png")
    town.upload("users/8/heard.png")
    town.later()
    store.requests.clear()
    look = looks.look()
    assert (look.uploads, look.new, look.notifications_missed, look.failed) == (
        25_002,
        2,
        1,
        0,
    )
    ranges = 25_000 // arrivals.RANGE
    assert store.requests["LIST uploads"] <= 26 + ranges
    assert store.requests["LIST results"] == store.requests["LIST quarantine"] == 0
    town.later()
    store.requests.clear()
    assert looks.look().new == 0
    # how far it has come
    assert store.requests.total() - store.requests["LIST uploads"] == 2


def test_a_million_uploads_keep_no_look_waiting_for_the_store() -> None:
    """By what S3 takes for its pages, eight ranges side by side, and what we take to
    read them meanwhile.
    """
    town, store = town_of()
    uploads = 20_000
    settled(town, uploads)
    looks = Arrivals(town.ctx)
    assert looks.look().new == 0
    store.requests.clear()
    looks.look()
    pages_of_a_million = store.requests["LIST uploads"] * (1_000_000 // uploads)
    look_s = pages_of_a_million * max(LIST_S / arrivals.READERS, READ_S)
    interval_s = town.ctx.settings.sweep_interval_s
    # the end of one look, the pause, and the next look: two intervals
    assert 2 * look_s <= interval_s
    town.put("lost.png")
    town.later(LEASE_S + 1)  # until then it may be on its way
    found = 0
    for _ in range(2):
        found += looks.look().notifications_missed
        town.later(interval_s)
    assert found == 1
    pages_of_a_pass = 4 * uploads // 1000 * (1_000_000 // uploads)
    # by whole passes alone it would wait that long
    assert REST * pages_of_a_pass * LIST_S > 20 * 2 * interval_s


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("versioned", [(), ("uploads",)])
def test_ranges_together_are_the_whole_bucket(versioned: tuple[str, ...]) -> None:
    """However uploads come and go between two looks, also those at which the ranges
    begin.
    """
    town = Town(versioned)
    looks = Arrivals(town.ctx)
    names = [f"{a}/{b}-{c}.png" for a in "abc" for b in "é0" for c in range(9)]
    for name in names:
        town.put(name)
    for step in range(6):
        town.later()
        assert looks.look().uploads >= len(town.store.keys("uploads"))
        for name in names[step::5]:
            town.store.delete("uploads", name)
        town.put(f"{'abcxyz'[step]}/new.png")
        town.later()
        assert looks.look().notifications_missed == 1


@pytest.mark.usefixtures("small")
def test_a_young_upload_is_left_to_its_notification() -> None:
    town = Town()
    looks = Arrivals(town.ctx)
    looks.look()
    town.put("a.png")
    town.later(LEASE_S - 5)
    assert (looks.look().notifications_missed, looks.look().notifications_missed) == (
        0,
        0,
    )
    town.later(10)
    assert (looks.look().notifications_missed, looks.look().notifications_missed) == (
        1,
        0,
    )


def test_what_was_put_again_is_another_upload() -> None:
    """The same bytes at the same key, later than their receipt."""
    town = Town()
    looks = Arrivals(town.ctx)
    town.upload("a.png", b"no photo")
    town.later()
    looks.look()
    town.put("a.png", b"no photo")
    town.later()
    assert looks.look().notifications_missed == 1
    assert looks.look().notifications_missed == 0


def test_an_upload_in_parts_has_the_time_of_its_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As S3 tells it: completed hours later it is found, and asked about once."""
    town, store = town_of()
    looks = Arrivals(town.ctx)
    begun = town.clock.now()
    town.later(6 * 3600)
    looks.look()
    put = town.put("parts.png")
    listed = store.list_versions

    def as_s3(bucket: str, start_after: str = "") -> Iterator[Any]:
        from dataclasses import replace

        for info in listed(bucket, start_after):
            yield replace(info, etag=f"{info.etag}-3", last_modified=begun)

    monkeypatch.setattr(store, "list_versions", as_s3)
    town.later()
    store.requests.clear()
    assert (looks.look().new, put.key) == (1, "parts.png")
    town.later()


def test_a_process_that_begins_anew_goes_on_where_the_last_one_was() -> None:
    """And one that finds its state damaged, or gone, leaves the rest to its first whole
    pass.
    """
    town = Town()
    Arrivals(town.ctx).look()
    town.put("a.png")
    town.later(7200)
    assert Arrivals(town.ctx).look().notifications_missed == 1
    for state in (b"{", b"", b'{"since": "2026-01-01T00:00:00"}', None):
        town.put(f"{state!r}.png")
        if state is None:
            town.store.delete("results", keys.ARRIVALS)
        else:
            town.store.put("results", keys.ARRIVALS, state, "application/json")
        town.later()
        assert Arrivals(town.ctx).look().notifications_missed == 0
        assert town.sweep().notifications_missed == 1


def test_a_clock_that_was_ahead_hides_nothing() -> None:
    town = Town()
    town.later(86_400)
    looks = Arrivals(town.ctx)
    looks.look()
    town.later(-86_000)
    looks.look()
    town.put("a.png")
    town.later()
    assert looks.look().notifications_missed + town.sweep().notifications_missed == 1


def test_an_upload_that_meets_a_fault_is_tried_at_each_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However old it gets, and it makes no other one be asked about again."""
    town, store = town_of()
    looks = Arrivals(town.ctx)
    looks.look()
    opened = store.open
    for name in "abc":
        town.put(f"{name}.png")

    def broken(
        bucket: str, key: str, version: str | None = None, if_match: str | None = None
    ) -> Any:
        if key == "b.png":
            raise StorageUnavailable("its server is down")
        return opened(bucket, key, version, if_match)

    monkeypatch.setattr(store, "open", broken)
    town.later()
    look = looks.look()
    assert (look.notifications_missed, look.failed) == (2, 1)
    for _ in range(3):
        town.later(3600)
        look = looks.look()
        assert (look.new, look.notifications_missed, look.failed) == (1, 0, 1)
    monkeypatch.setattr(store, "open", opened)
    assert looks.look().notifications_missed == 1
    assert looks.look().new == 0


def test_a_store_that_is_away_ends_the_look_and_the_next_one_finds_all() -> None:
    town = Town()
    looks = Arrivals(town.ctx)
    looks.look()
    town.put("a.png")
    town.later()
    town.store.unavailable = True
    with pytest.raises(StorageUnavailable):
        looks.look()
    town.store.unavailable = False
    town.later(86_400)
    assert looks.look().notifications_missed == 1
