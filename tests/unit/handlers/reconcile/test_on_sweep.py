"""Whatever was lost is found, what only waits is left alone, and looking again costs
nothing.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from handlers.on_sweep import on_sweep
from shared.broker import topology
from shared.broker.depth import Backlog
from shared.errors import BrokerUnavailable, StorageUnavailable
from shared.uploads import keys
from shared.uploads.messages import RestoreTask
from shared.uploads.ref import upload_id_of
from tests.support.fake_clock import FakeClock
from tests.support.reconcile_world import LEASE_S, Town, TownAuditLog, photo


@pytest.fixture
def town() -> Town:
    return Town()


def test_a_lost_notification_is_made_good(town: Town) -> None:
    """An upload without a receipt is decided on, once it is older than the lease; a
    second pass finds nothing.
    """
    info = town.put("a.png")
    assert town.sweep().notifications_missed == 0
    town.later()
    assert town.sweep().notifications_missed == 1
    assert town.messages() == [upload_id_of(info)]
    town.later()
    assert town.sweep().notifications_missed == 0
    assert len(town.messages()) == 1


def test_a_message_that_was_never_published_is_published(town: Town) -> None:
    """The receipt was written, then the broker was down."""
    town.publisher.refused = {topology.BULK, topology.INTERACTIVE}
    uploads = [
        town.upload("a.png"),
        town.upload("b.png", metadata={"priority": "interactive"}),
    ]
    town.publisher.refused = set()
    town.later()
    assert town.sweep().republished == 2
    assert set(town.messages()) == set(uploads)
    assert town.depths()[topology.INTERACTIVE] == 1
    assert town.sweep().republished == 0


def test_what_is_young_is_left_to_the_normal_way(town: Town) -> None:
    town.upload("a.png")
    town.lose()
    assert town.sweep().republished == 0


def test_a_waiting_backlog_is_left_alone(town: Town) -> None:
    """However long it waits and however often one looks: nothing is published twice."""
    for number in range(50):
        town.upload(f"{number}.png")
    for _ in range(5):
        town.later(3600)
        report = town.sweep()
        assert (report.republished, report.waiting) == (0, 50)
    assert town.depths()[topology.BULK] == 50


def test_what_is_missing_of_a_backlog_is_published_once(town: Town) -> None:
    """More photos wait than messages are there: the oldest, which the queue has passed,
    are published; then it fits.
    """
    for number in range(30):
        town.upload(f"{number}.png")
        town.later(1)
    lost = town.lose(7)
    town.later()
    assert town.sweep().republished == 7
    assert sorted(town.messages()[-7:]) == sorted(task.upload_id for task in lost)
    for _ in range(3):
        town.later()
        assert town.sweep().republished == 0
    assert sorted(town.messages()) == sorted(set(town.messages()))


def test_a_wiped_broker_is_filled_again(town: Town) -> None:
    """Everything that waits is published exactly once, each to its own queue."""
    uploads = [
        town.upload(
            f"{n}.png", metadata={"priority": "interactive" if n % 3 else "bulk"}
        )
        for n in range(12)
    ]
    town.lose(queue=topology.BULK)
    town.lose(queue=topology.INTERACTIVE)
    town.later()
    assert town.sweep().republished == 12
    assert town.sweep().republished == 0
    assert sorted(town.messages()) == sorted(uploads)
    assert town.depths()[topology.INTERACTIVE] == 8


def test_a_message_lost_from_one_lane_is_not_sought_in_another(town: Town) -> None:
    """A long queue of one user, all there, does not hide another user's only message;
    each keeps its lane.
    """
    crowd = [town.upload(f"a{n}.png", metadata={"user": "ann"}) for n in range(20)]
    town.later(1)
    single = town.upload("b.png", metadata={"user": "cy"})
    lane = topology.LANES[town.receipt(single).lane]
    assert lane not in (topology.BULK, topology.LANES[town.receipt(crowd[0]).lane])
    assert len(town.lose(queue=lane)) == 1
    town.later()
    assert town.sweep().republished == 1
    assert [
        RestoreTask.decode(body).upload_id for body in town.publisher.bodies(lane)
    ] == [single, single]


def test_ended_uploads_are_not_published(town: Town) -> None:
    """Restored, failed, rejected or sharing another's result: their messages may be
    gone.
    """
    data = photo(3)
    done, failed = town.upload("done.png", data), town.upload("failed.png")
    town.restore(done)
    town.fail(failed)
    town.upload("text.png", b"no photo")
    town.upload("again.png", data)
    town.lose()
    town.later()
    report = town.sweep()
    assert (report.republished, report.waiting, report.receipts) == (0, 0, 4)


def test_a_deleted_source_is_left_to_the_worker(town: Town) -> None:
    """A lost message for it is published: the worker finds the source missing and ends
    the photo with that reason.
    """
    upload = town.upload("a.png")
    town.lose()
    town.store.delete("uploads", "a.png")
    town.later()
    assert town.sweep().republished == 1
    assert town.messages() == [upload]


def test_an_overwritten_upload_and_its_successor_each_have_their_own_end(
    town: Town,
) -> None:
    """The later bytes, of which no notification came, are decided on; the earlier ones'
    task waits for its worker.
    """
    earlier = town.upload("a.png", photo(1))
    town.later()
    later = upload_id_of(town.put("a.png", photo(2)))
    town.later()
    report = town.sweep()
    assert (report.notifications_missed, report.republished) == (1, 0)
    assert town.messages() == [earlier, later]


def test_the_same_bytes_put_again_are_another_upload(town: Town) -> None:
    """Same key, same bytes, later: the receipt is older than the object, so the event
    was lost.
    """
    data = photo(1)
    upload = town.upload("a.png", data)
    town.restore(upload)
    town.later()
    again = town.put("a.png", data)
    town.later()
    assert town.sweep().notifications_missed == 1
    assert town.receipt(upload).source.upload_time == again.last_modified
    town.later()
    assert town.sweep().notifications_missed == 0


def test_of_a_bucket_with_versions_the_current_ones_count() -> None:
    """Versions are uploads of their own; one that was overwritten before it was looked
    at is superseded.
    """
    town = Town(versioned=("uploads",))
    known = town.upload("a.png", photo(1))
    town.put("b.png", photo(2))
    current = upload_id_of(town.put("b.png", photo(3)))
    town.later()
    report = town.sweep()
    assert (report.uploads, report.notifications_missed) == (2, 1)
    assert town.messages() == [known, current]
    assert town.receipt(current).source.version
    town.later()
    assert town.sweep().notifications_missed == 0


def test_a_result_without_a_record_is_retired_when_nobody_waits(town: Town) -> None:
    """Left behind by an attempt that died before its record; it goes to the archive,
    with its copies and credentials, and without its preview, mask and tiles.
    """
    failed, waiting = town.upload("a.png"), town.upload("b.png")
    for upload in (failed, waiting):
        record = town.restore(upload)
        town.store.put("results", keys.preview(record.task_id), b"webp", "image/webp")
        town.store.put("results", keys.mask(record.task_id), b"png", "image/png")
        town.store.put("results", keys.copy(record.task_id, "jpg"), b"j", "image/jpeg")
        town.store.put("results", keys.pyramid(record.task_id), b"z", "application/zip")
        sidecar = keys.credentials(record.task_id)
        town.store.put("results", sidecar, b"c2pa", "application/c2pa")
        town.store.delete("results", keys.record(record.task_id))
    town.fail(failed)
    town.later()
    assert town.sweep().results_retired == 0
    town.later(3600)
    assert town.sweep().results_retired == 1
    task_id = town.receipt(failed).task_id or ""
    retired = (
        keys.copy(task_id, "jpg"),
        keys.credentials(task_id),
        keys.result(task_id),
    )
    assert town.store.keys("archive") == retired
    left = [
        key
        for key in town.store.keys("results")
        if key.startswith(
            (
                "processed/",
                "previews/",
                "masks/",
                "copies/",
                "credentials/",
                "tiles/",
            )
        )
    ]
    waited = town.receipt(waiting).task_id or ""
    assert left == [
        keys.copy(waited, "jpg"),
        keys.credentials(waited),
        keys.mask(waited),
        keys.preview(waited),
        keys.result(waited),
        keys.pyramid(waited),
    ]


def test_a_result_that_is_committed_while_it_is_retired_stays(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A twin was uploaded meanwhile, and its worker found the result there."""
    data = photo(8)
    first = town.upload("a.png", data)
    record = town.restore(first)
    result = town.store.read("results", record.result_key)
    town.store.delete("results", keys.record(record.task_id))
    town.fail(first)
    town.later(7200)
    copy = town.store.copy

    def meanwhile(*args: Any) -> None:
        monkeypatch.undo()
        copy(*args)
        town.store.put(
            "results",
            keys.record(record.task_id),
            record.to_bytes(),
            "application/json",
        )

    monkeypatch.setattr(town.store, "copy", meanwhile)
    assert town.sweep().results_retired == 1
    assert town.store.read("results", record.result_key) == result


def test_a_dry_run_changes_nothing(town: Town) -> None:
    """It counts what the next pass then does."""
    audit_log = TownAuditLog()
    town.upload("lost.png")
    town.claim(town.upload("crashed.png"))
    town.restore(town.upload("done.png"))
    record = town.restore(town.upload("damaged.png"))
    town.store.put("results", keys.record(record.task_id), b"{", "application/json")
    town.put("missed.png")
    town.lose()
    town.recorded()
    town.later(7200)
    before, sent = town.store.snapshot(), len(town.publisher.sent)
    dry = town.sweep(audit_log=audit_log, dry_run=True)
    assert (town.store.snapshot(), len(town.publisher.sent)) == (before, sent)
    assert (
        dry.notifications_missed,
        dry.retried,
        dry.republished,
        dry.events_resent,
        dry.damaged,
    ) == (
        1,
        1,
        1,
        1,
        1,
    )
    wet = town.sweep(audit_log=audit_log)
    assert (
        wet.notifications_missed,
        wet.retried,
        wet.republished,
        wet.damaged,
        wet.repaired,
    ) == (
        1,
        1,
        1,
        1,
        1,
    )


def test_since_looks_only_at_what_is_younger(town: Town) -> None:
    """Older uploads and receipts are not touched, nothing is cleared away, and the
    watermark stays.
    """
    town.put("old.png")
    town.upload("older.png")
    town.later(3600)
    since = town.clock.now()
    young = [upload_id_of(town.put("new.png")), town.upload("newer.png")]
    town.lose()
    town.later()
    report = town.sweep(since=since)
    assert (report.uploads, report.notifications_missed, report.republished) == (
        2,
        1,
        1,
    )
    assert sorted(town.messages()) == sorted(young)
    assert keys.SWEEP not in town.store.keys("results")


def test_clocks_of_other_machines_do_not_matter(town: Town) -> None:
    """An hour fast or slow: every age is the store's."""
    for skew in (timedelta(hours=1), timedelta(hours=-1)):
        local = FakeClock(town.clock.now() + skew)
        object.__setattr__(town.ctx, "clock", local)
        info, waiting = town.put(f"{skew}.png"), town.upload(f"w{skew}.png")
        town.later(LEASE_S - 10)
        assert (town.sweep().notifications_missed, town.messages().count(waiting)) == (
            0,
            1,
        )
        town.later(20)
        report = town.sweep()
        assert (report.notifications_missed, report.republished) == (1, 0)
        assert upload_id_of(info) in town.messages()


def test_without_its_services_a_pass_ends_and_the_next_one_does_it_all(
    town: Town,
) -> None:
    """Nothing is noted as done."""
    town.upload("a.png")
    town.lose()
    town.put("b.png")
    town.later()
    town.publisher.refused = {topology.BULK}
    with pytest.raises(BrokerUnavailable):
        town.sweep()
    town.publisher.refused = set()
    town.store.unavailable = True
    with pytest.raises(StorageUnavailable):
        town.sweep()
    town.store.unavailable = False
    town.later()
    town.sweep()
    expected = [
        upload_id_of(town.store.head("uploads", key)) for key in ("a.png", "b.png")
    ]
    assert sorted(town.messages()) == sorted(expected)


def test_two_sweeps_at_once_cost_a_message_at_most(town: Town) -> None:
    """Neither knows of the other; a photo's second message finds its record or its
    claim.
    """
    uploads = [town.upload(f"{n}.png") for n in range(5)]
    town.lose()
    town.later()
    measured = count()

    def beside() -> dict[str, Backlog]:
        """The other sweep does all its work between this one's count and its
        publishing.
        """
        found = town.backlogs()
        if next(measured) == 1:
            assert town.sweep().republished == 5
        return found

    assert on_sweep(town.ctx, backlogs=beside).republished == 5
    assert sorted(town.messages()) == sorted(uploads * 2)
    town.later()
    assert town.sweep().republished == 0
