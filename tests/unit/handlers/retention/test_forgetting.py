"""What the rules delete is never restored anew, wherever a run is cut off; and what is
needed, held or not known stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, get_args
from uuid import UUID

import pytest

from handlers.retention import forgetting
from handlers.retention.forgetting import Forgetting
from handlers.retention.report import RetentionReport
from handlers.retention.rules import Hold, Rule, Rules, What
from handlers.webhooks.call_log import CallResult
from shared.broker import topology
from shared.uploads import keys
from shared.uploads.keys import Picture
from tests.support.memory_store import MemoryStore
from tests.support.reconcile_world import Town, photo

YEAR_S = 366 * 86_400.0
EVERYTHING: tuple[What, ...] = (
    "uploads",
    "quarantine",
    "previews",
    "tiles",
    "callbacks",
    "tickets",
    "receipts",
    "results",
)
RULES = Rules(rule=[Rule(what=what, after_days=365) for what in EVERYTHING])
CALLBACK = {"callback": "https://8.8.8.8/hook"}


class Log:
    """The uploads of each task."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self.uploads: dict[str, list[str]] = {}

    def learn(self, *uploads: str) -> None:
        for upload in uploads:
            task = self._town.receipt(upload).task_id or ""
            self.uploads.setdefault(task, []).append(upload)

    def uploads_of(self, task_id: UUID | str) -> list[str]:
        return self.uploads.get(str(task_id), [])


class OldTown:
    """A restored photo with a twin and a webhook, a failed and a refused one, a year
    ago; and a photo that waits for a worker since.
    """

    def __init__(self, versioned: tuple[str, ...] = ()) -> None:
        self.town = town = Town(versioned, callback_ports="443 8443")
        town.store.make_bucket("access")
        self.log = Log(town)
        same = photo(3)
        self.done = town.upload("in/done.png", same, {"user": "ann"})
        self.twin = town.upload("in/twin.png", same, {"user": "ann"})
        self.failed = town.upload("in/failed.png")
        self.waiting = town.upload("in/waiting.png")
        self.refused = town.upload("in/text.png", b"no photo")
        self.record = town.restore(self.done)
        self._have_called()
        town.fail(self.failed)
        town.store.put("results", keys.preview(self.record.task_id), b"w", "image/webp")
        for of in get_args(Picture):
            key = keys.pyramid(self.record.task_id, of)
            town.store.put("results", key, b"z", "application/zip")
        self.log.learn(self.done, self.twin, self.failed, self.waiting)
        town.sweep()
        town.later(YEAR_S)

    def _have_called(self) -> None:
        receipt = self.town.receipt(self.done).model_copy(
            update={"callback": "https://example.org/hook"}
        )
        self.town.ctx.uploads.write_receipt(receipt)
        told = CallResult(
            upload_id=self.done,
            event_id="e",
            upload_time=receipt.source.upload_time,
            outcome="delivered",
            attempts=1,
            at=self.town.clock.now(),
        )
        self.town.store.put(
            "results",
            keys.callback_told(self.done),
            told.to_bytes(),
            "application/json",
        )

    def forget(self, rules: Rules = RULES, **options: Any) -> RetentionReport:
        return Forgetting(self.town.ctx, rules, self.log, **options).run()

    def keys(self) -> dict[str, list[str]]:
        buckets = ("uploads", "results", "quarantine")
        return {
            bucket: [
                key
                for key in self.town.store.keys(bucket)
                if not key.startswith("sweep/")
            ]
            for bucket in buckets
        }

    def swept(self) -> Mapping[str, Any]:
        """What a sweep does that remembers nothing, as after the loss of its watermark."""
        self.town.store.delete("results", keys.SWEEP)
        self.town.later()
        before = self.town.messages()
        report = self.town.sweep().model_dump()
        again = [each for each in self.town.messages() if each not in before]
        assert again == [], "an old photo was published again"
        sent = self.town.depths()
        return report | {"webhooks": sent[topology.CALLBACKS]}


@pytest.fixture
def old() -> OldTown:
    return OldTown()


def test_tiles_of_an_original_go_with_it_and_all_by_a_rule_of_their_own(
    old: OldTown,
) -> None:
    def tiles() -> list[str]:
        return [key for key in old.keys()["results"] if key.startswith("tiles/")]

    task = old.record.task_id
    assert len(tiles()) == 2
    old.forget(Rules(rule=[Rule(what="uploads", after_days=365)]))
    assert tiles() == [keys.pyramid(task)]
    tiles_only = [Rule(what="tiles", after_days=365)]
    old.forget(Rules(rule=tiles_only, hold=[Hold(reason="a suit", task=task)]))
    assert tiles() == [keys.pyramid(task)]
    old.forget(Rules(rule=tiles_only))
    assert tiles() == []


def test_what_has_ended_is_forgotten_whole_and_what_waits_stays(old: OldTown) -> None:
    report = old.forget()
    assert report.failed == 0
    old.forget()
    waiting = old.town.receipt(old.waiting)
    assert old.keys() == {
        "uploads": ["in/waiting.png"],
        "results": [waiting.place()],
        "quarantine": [],
    }
    assert report.kept["uploads"] == {forgetting.WAITING: 1}
    swept = old.swept()
    assert (swept["notifications_missed"], swept["webhooks_requested"]) == (0, 0)


def test_without_a_rule_nothing_is_deleted(old: OldTown) -> None:
    before = old.keys()
    for what in EVERYTHING:
        rules = Rules(rule=[Rule(what=what, after_days=3650)])
        assert old.forget(rules).deleted == {}
    assert old.forget(Rules()).deleted == {}
    assert old.keys() == before


@pytest.mark.parametrize("what", EVERYTHING)
def test_each_kind_alone_has_no_old_photo_restored_anew(
    old: OldTown, what: What
) -> None:
    old.forget(Rules(rule=[Rule(what=what, after_days=365)]))
    swept = old.swept()
    assert swept["notifications_missed"] == swept["republished"] == 0
    assert swept["webhooks"] == 0


@pytest.mark.parametrize(
    "point",
    [
        "retention.before_delete",
        "retention.after_receipt",
        "retention.before_result",
        "retention.before_record",
    ],
)
@pytest.mark.parametrize("passage", [1, 2, 3])
def test_a_run_that_is_cut_off_is_finished_by_the_next(
    old: OldTown, monkeypatch: pytest.MonkeyPatch, point: str, passage: int
) -> None:
    passed = []

    def cut(name: str) -> None:  # nothing in between catches what ends the process
        passed.extend([name] if name == point else [])
        if len(passed) == passage:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(forgetting, "passing", cut)
        with suppress(KeyboardInterrupt):
            old.forget()
    swept = old.swept()
    assert swept["notifications_missed"] == swept["webhooks_requested"] == 0
    old.forget()
    old.forget()
    assert old.keys()["uploads"] == ["in/waiting.png"]
    assert old.keys()["quarantine"] == []
    assert old.keys()["results"] == [old.town.receipt(old.waiting).place()]


@pytest.mark.parametrize("by", ["user", "prefix", "task"])
def test_a_hold_wins(old: OldTown, by: str) -> None:
    receipt = old.town.receipt(old.done)
    held = {"user": receipt.user_hash, "prefix": "in/", "task": receipt.task_id}[by]
    hold = Hold(reason="court 7", **{by: held})
    report = old.forget(RULES.model_copy(update={"hold": [hold]}))
    assert forgetting.HELD in report.kept["uploads"]
    assert old.town.store.head("uploads", "in/done.png")
    assert old.town.store.head("results", keys.result(receipt.task_id or ""))
    assert old.town.ctx.uploads.receipt(old.done)


def test_a_dry_run_counts_and_changes_nothing(old: OldTown) -> None:
    before = old.town.store.snapshot()
    report = old.forget(dry_run=True)
    assert old.town.store.snapshot() == before
    assert report.deleted["uploads"] == 4
    assert report.kept["results"] == {forgetting.ORIGINAL: 1}


def test_a_result_stays_for_a_younger_upload_of_the_photo(old: OldTown) -> None:
    again = old.town.upload("in/again.png", photo(3), {"user": "ann"})
    old.log.learn(again)
    report = old.forget()
    assert report.kept["results"] == {forgetting.YOUNG: 1}
    assert old.town.store.head("results", keys.result(old.record.task_id))


def test_what_the_log_does_not_know_stays(old: OldTown) -> None:
    old.log.uploads.clear()
    report = old.forget()
    assert report.kept["results"] == {forgetting.UNKNOWN: 1}
    without = Forgetting(old.town.ctx, RULES, None).run()
    assert without.kept["results"] == {forgetting.NO_LOG: 1}


def test_a_user_and_a_prefix_bound_a_rule(old: OldTown) -> None:
    ann = old.town.receipt(old.done).user_hash
    rules = Rules(rule=[Rule(what="uploads", after_days=365, user=ann, prefix="in/t")])
    assert old.forget(rules).deleted == {"uploads": 1}
    assert "in/twin.png" not in old.keys()["uploads"]


def test_an_earlier_version_does_not_come_to_light() -> None:
    """Deleting the current version would make the one before it an upload again."""
    old = OldTown(("uploads",))
    store: MemoryStore = old.town.store
    first = old.town.put("in/twice.png")
    second = old.town.upload("in/twice.png")
    old.town.fail(second)
    old.town.later(YEAR_S)
    old.forget()
    left = [info.key for info in store.every_version("uploads", "in/twice.png")]
    assert left == []
    assert first.version
    assert old.swept()["notifications_missed"] == 0


def test_one_fault_costs_only_itself(old: OldTown) -> None:
    place = old.town.receipt(old.refused).place()
    old.town.store.put("results", place, b"{", "application/json")
    old.town.later(YEAR_S)
    report = old.forget()
    assert report.failed == 1
    assert report.deleted["uploads"] == 3


def test_a_receipt_stays_while_there_is_a_result_to_erase(old: OldTown) -> None:
    rules = Rules(
        rule=[Rule(what="uploads", after_days=365), Rule(what="receipts", after_days=9)]
    )
    assert old.forget(rules).kept["receipts"] == {
        forgetting.RESULT: 1,
        forgetting.WAITING: 1,
        forgetting.COPY: 1,
    }
    assert old.town.receipt(old.done)
