"""Uploads in parts that were abandoned, in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.errors import StorageUnavailable
from shared.s3.store import Unfinished
from tests.support.reconcile_world import Town


def left(town: Town) -> list[str]:
    return [upload.key for upload in town.store.unfinished("uploads")]


def test_what_was_abandoned_is_ended_and_what_goes_on_is_not() -> None:
    town = Town(multipart_max_age_s=3600)
    town.store.begin("uploads", "old.png")
    town.later(3000)
    town.store.begin("uploads", "young.png")
    assert town.sweep().multiparts_ended == 0
    town.later(601)
    assert town.sweep(dry_run=True).multiparts_ended == 1
    assert left(town) == ["old.png", "young.png"]
    assert town.sweep().multiparts_ended == 1
    assert left(town) == ["young.png"]


@pytest.mark.parametrize(("max_age_s", "ended"), [(0, 0), (1, 0), (3599, 0)])
def test_none_is_ended_while_its_ticket_is_good_or_where_it_is_switched_off(
    max_age_s: float, ended: int
) -> None:
    town = Town(multipart_max_age_s=max_age_s, upload_expires_s=3600)
    town.store.begin("uploads", "a.png")
    town.later(3600)
    assert town.sweep().multiparts_ended == ended
    town.later(1)
    assert town.sweep().multiparts_ended == (max_age_s > 0)


def test_a_store_that_cannot_list_them_stops_no_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: str) -> Iterator[Unfinished]:
        raise StorageUnavailable("AccessDenied")

    town = Town()
    monkeypatch.setattr(town.store, "unfinished", refuse)
    town.put("a.png")
    town.later()
    report = town.sweep()
    assert (report.notifications_missed, report.multiparts_ended) == (1, 0)
