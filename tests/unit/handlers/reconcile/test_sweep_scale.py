"""A pass costs what is new, remembers little, and goes on where it was cut off."""

from __future__ import annotations

import tracemalloc
from bisect import bisect_left
from datetime import UTC, datetime
from itertools import count
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.on_sweep import Memory
from handlers.reconcile import missing_messages, pass_context, watermark
from handlers.reconcile.tables import Entry, Ids, Unsettled, packed, text
from shared.broker import topology
from shared.errors import StorageUnavailable
from shared.uploads import identity, keys
from shared.uploads.documents import Receipt, Source
from shared.workflows import resolve
from tests.support.reconcile_world import Town

_numbers = count(1)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def crowd(town: Town, number: int, finished: bool) -> None:
    """Many uploads that were decided on long ago, without the cost of handling them one
    by one.
    """
    workflow = resolve("fast").ref
    for _ in range(number):
        key = f"crowd/{next(_numbers):06}.png"
        info = town.store.put("uploads", key, b"x", "image/png")
        upload = identity.upload_id("uploads", key, info.etag)
        task = identity.task_id("u", key, "s")
        receipt = Receipt(
            upload_id=upload,
            decision="queued",
            user_hash="u",
            priority="bulk",
            decided_at=town.clock.now(),
            source=Source(
                bucket="uploads",
                key=key,
                etag=info.etag,
                bytes=1,
                upload_time=info.last_modified,
            ),
            task_id=task,
            workflow=workflow,
        )
        town.store.put(
            "results", keys.receipt(upload), receipt.to_bytes(), "application/json"
        )
        if finished:
            town.fail(upload)
    town.store.reads.clear()


@pytest.mark.parametrize("remembers", [True, False])
def test_settled_uploads_are_not_read_again(remembers: bool) -> None:
    """The second pass lists, and reads nothing; by what the process remembers or by the
    watermark in the bucket.
    """
    town, memory = Town(), Memory()
    crowd(town, 20, finished=True)
    town.later()
    town.sweep(memory=memory)
    assert len(town.store.reads) == 2 * 20  # receipt and reason
    town.later()
    town.store.reads.clear()
    town.sweep(memory=memory if remembers else Memory())
    assert town.store.reads == []
    crowd(town, 3, finished=True)
    town.sweep(memory=memory if remembers else Memory())
    assert len(town.store.reads) == 3


def test_a_backlog_is_read_once_by_a_process_that_remembers() -> None:
    """However many passes it waits."""
    town, memory = Town(), Memory()
    crowd(town, 20, finished=False)
    town.queues[topology.BULK] = [b""] * 20
    for _ in range(4):
        town.later()
        report = town.sweep(memory=memory)
        assert (report.waiting, report.republished) == (20, 0)
    assert len(town.store.reads) == 20


def test_what_waits_is_found_by_a_process_that_begins_anew() -> None:
    """The watermark does not pass what is not settled."""
    town = Town()
    crowd(town, 5, finished=False)
    town.queues[topology.BULK] = [b""] * 5
    town.later()
    town.sweep()
    town.later(3600)
    crowd(town, 5, finished=True)
    town.queues[topology.BULK] = []
    town.sweep()
    report = town.sweep()
    assert (report.waiting, report.republished) == (5, 0)
    assert town.depths()[topology.BULK] == 5


def test_a_pass_goes_on_where_it_was_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the middle of a long first pass, the next one reads the rest, and what
    waited before the cut.
    """
    monkeypatch.setattr(watermark, "SAVE_EVERY", 10)
    monkeypatch.setattr(pass_context, "CHUNK", 5)
    town = Town()
    crowd(town, 40, finished=True)
    town.later(3600)
    crowd(town, 2, finished=False)
    town.queues[topology.BULK] = [b""] * 2
    town.later()
    calls = count()
    read = town.store.read

    def dies(bucket: str, key: str, version: str | None = None) -> bytes:
        if key.startswith("receipts/") and next(calls) >= 30:
            raise Killed
        return read(bucket, key, version)

    monkeypatch.setattr(town.store, "read", dies)
    with pytest.raises(Killed):
        town.sweep()
    monkeypatch.setattr(town.store, "read", read)
    town.store.reads.clear()
    assert town.sweep().waiting == 2
    again = [key for key in town.store.reads if key.startswith("receipts/")]
    assert 10 <= len(again) <= 24


@pytest.mark.parametrize("remembers", [True, False])
def test_a_store_whose_clock_was_ahead_hides_nothing(remembers: bool) -> None:
    """What came after the clock was put right is older than the last pass; it is looked
    at all the same.
    """
    town, memory = Town(), Memory()
    town.restore(town.upload("a.png"))
    town.later(86_400)
    town.sweep(memory=memory)
    town.later(-86_000)
    lost = town.upload("b.png")
    town.lose()
    town.later()
    town.sweep(memory=memory if remembers else Memory())
    assert lost in town.messages()


def test_an_object_out_of_reach_hides_nothing_behind_it() -> None:
    """The others are looked at, nothing is cleared away meanwhile, and it is read when
    it can be.
    """
    town, memory = Town(), Memory()
    uploads = sorted(town.upload(f"{n}.png") for n in range(5))
    town.lose()
    town.store.out_of_reach = {keys.receipt(uploads[1])}
    town.later()
    report = town.sweep(memory=memory)
    assert (report.failed, report.republished) == (1, 4)
    town.store.out_of_reach = set()
    town.later()
    report = town.sweep(memory=memory)
    assert (report.failed, report.republished) == (0, 1)


def test_an_upload_out_of_reach_hides_nothing_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town()
    for name in ("a", "b", "c"):
        town.put(f"{name}.png")
    town.later()
    opened = town.store.open

    def broken(bucket: str, key: str, version: str | None = None) -> object:
        if key == "b.png":
            raise StorageUnavailable("its server is down")
        return opened(bucket, key, version)

    monkeypatch.setattr(town.store, "open", broken)
    report = town.sweep()
    assert (report.notifications_missed, report.failed) == (2, 1)


def test_a_burst_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a wiped broker the oldest come first, a limited number in each pass, until
    all are there.
    """
    monkeypatch.setattr(missing_messages, "MOST", 4)
    town = Town()
    uploads = []
    for number in range(10):
        uploads.append(town.upload(f"{number}.png"))
        town.later(2)
    town.lose()
    town.later()
    for expected in (4, 4, 2, 0):
        assert town.sweep().republished == expected
    assert sorted(town.messages()) == sorted(uploads)
    assert town.messages()[:4] == uploads[:4]


def test_thousands_of_uploads_in_flat_memory() -> None:
    """A pass over a settled bucket keeps some hundred bytes for each upload, not its
    documents.
    """
    peaks = []
    for number in (500, 4_500):
        town = Town()
        crowd(town, number, finished=True)
        town.later()
        town.sweep()
        town.later()
        tracemalloc.start()
        town.sweep()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 4_000 < 200


@given(
    st.dictionaries(st.uuids(), st.integers(0, 4_000_000_000_000_000), max_size=40),
    st.uuids(),
)
def test_a_table_of_ids_finds_what_was_added(
    times: dict[UUID, int], other: UUID
) -> None:
    """Exactly that, with its time to the microsecond."""
    table = Ids()
    for ident in sorted(times, key=lambda each: each.bytes):
        table.add(
            ident.bytes,
            datetime.fromtimestamp(0, UTC)
            + watermark.timedelta(microseconds=times[ident]),
        )
    for ident, us in times.items():
        assert table.when(ident.bytes) == datetime.fromtimestamp(
            0, UTC
        ) + watermark.timedelta(microseconds=us)
    assert (other.bytes in table) == (other in times)
    assert len(table) == len(times)
    assert bisect_left(table, b"") == 0


def test_ids_must_come_in_order() -> None:
    """A store that lists out of order would make bisection lie: better an error."""
    table = Ids()
    table.add(b"b" * 16, datetime.now(UTC))
    with pytest.raises(ValueError, match="ascending"):
        table.add(b"a" * 16, datetime.now(UTC))


@given(
    st.lists(
        st.builds(
            Entry,
            st.binary(min_size=16, max_size=16),
            st.one_of(st.just(b""), st.binary(min_size=16, max_size=16)),
            st.datetimes(
                datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)
            ),
            st.datetimes(
                datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)
            ),
            st.booleans(),
            st.booleans(),
        )
    )
)
def test_what_is_unsettled_is_remembered_as_it_was(entries: list[Entry]) -> None:
    table = Unsettled()
    for entry in entries:
        table.add(entry)
    assert list(table) == entries
    assert len(table) == len(entries)


def test_only_ids_of_ours_are_packed() -> None:
    ident = "0f8fad5b-d9cb-469f-a165-70867728950e"
    assert text(packed(ident)) == ident
    for foreign in ("", "x", ident.upper(), ident.replace("-", ""), f"{ident}\n"):
        assert packed(foreign) == b""
