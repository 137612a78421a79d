"""A document that somebody broke by hand is reported, kept, and made anew from what is
left.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest

from handlers.on_sweep import Memory
from shared.errors import NotFound
from shared.uploads import keys
from shared.uploads.documents import Receipt, Record
from tests.support.reconcile_world import Town, photo
from tests.support.records import credentials_of


@pytest.fixture
def town() -> Town:
    return Town()


def damage(town: Town, key: str, data: bytes = b'{"v": 1, "upload') -> None:
    town.later()
    town.store.put("results", key, data, "application/json")


def test_a_damaged_receipt_is_decided_anew_from_its_upload(town: Town) -> None:
    """The same receipt but for the time of the decision; the broken bytes lie in the
    archive.
    """
    upload = town.upload("a.png", metadata={"user": "u", "priority": "interactive"})
    before = town.receipt(upload)
    damage(town, keys.receipt(upload))
    report = town.sweep()
    assert (report.damaged, report.repaired) == (1, 1)
    after = town.receipt(upload)
    assert after == before.model_copy(update={"decided_at": after.decided_at})
    assert town.store.read("archive", f"damaged/{keys.receipt(upload)}").startswith(
        b'{"v"'
    )
    town.later()
    assert town.sweep().damaged == 0


def test_a_damaged_receipt_without_its_upload_is_made_from_the_record(
    town: Town,
) -> None:
    town.upload("other.png")
    upload = town.upload("a.png")
    before = town.receipt(upload)
    town.restore(upload)
    town.store.delete("uploads", "a.png")
    damage(town, keys.receipt(upload), b"")
    report = town.sweep()
    assert (report.damaged, report.repaired, report.republished) == (1, 1, 0)
    assert town.receipt(upload) == before


def test_a_damaged_receipt_of_which_nothing_is_left_is_reported(town: Town) -> None:
    """It stays as it is, for people to look at, and holds nobody up."""
    upload, other = town.upload("a.png"), town.upload("b.png")
    town.store.delete("uploads", "a.png")
    damage(town, keys.receipt(upload), b"[]")
    town.lose()
    report = town.sweep()
    assert (report.damaged, report.repaired, report.republished) == (1, 0, 1)
    assert town.messages() == [other]
    assert town.store.read("results", keys.receipt(upload)) == b"[]"


@pytest.mark.parametrize("is_of_it", [True, False])
def test_a_record_made_anew_names_the_credentials_of_its_result(
    town: Town, is_of_it: bool
) -> None:
    """By what the sidecar says of itself, and not those of other bytes."""
    before = town.restore(town.upload("a.png"))
    result = town.store.read("results", before.result_key)
    digest = hashlib.sha256(result).hexdigest() if is_of_it else "ab" * 32
    told = credentials_of(before.task_id, digest, before.finished_at)
    town.store.put("results", told.key, b"c2pa", "application/c2pa", told.metadata())
    damage(town, keys.record(before.task_id))
    assert town.sweep().repaired == 1
    key = keys.record(before.task_id)
    after = Record.from_bytes(town.store.read("results", key), key)
    assert after.credentials == (told if is_of_it else None)


def test_a_damaged_record_is_made_from_receipt_and_result(town: Town) -> None:
    """What the stored result says is true of it; what is lost is said to be lost;
    nothing is computed again.
    """
    for number in range(3):
        town.upload(f"{number}.png")
    upload = town.upload("a.png")
    before = town.restore(upload)
    result = town.store.read("results", before.result_key)
    damage(town, keys.record(before.task_id))
    report = town.sweep()
    assert (report.damaged, report.repaired) == (1, 1)
    after = town.record(upload)
    for name in (
        "task_id",
        "upload_id",
        "user_hash",
        "source",
        "workflow",
        "result_key",
        "engine",
        "device",
    ):
        assert getattr(after, name) == getattr(before, name)
    assert (after.result_sha256, after.result_bytes) == (
        hashlib.sha256(result).hexdigest(),
        len(result),
    )
    assert (after.width, after.height) == (6, 4)
    assert "lost" in after.notes[0]
    assert after.credentials is None
    assert town.store.read("results", before.result_key) == result
    assert town.store.read("archive", f"damaged/{keys.record(before.task_id)}")
    town.later()
    report = town.sweep()
    assert (report.damaged, report.republished, report.waiting) == (0, 0, 3)


def test_a_damaged_record_without_its_result_lets_the_photo_be_restored_again(
    town: Town,
) -> None:
    upload = town.upload("a.png")
    record = town.restore(upload)
    town.store.delete("results", record.result_key)
    town.lose()
    damage(town, keys.record(record.task_id))
    memory = Memory()
    assert town.sweep(memory=memory).repaired == 1
    town.later()
    assert town.sweep(memory=memory).republished == 1
    assert town.messages() == [upload]
    with pytest.raises(NotFound):
        town.store.head("results", keys.record(record.task_id))


def test_a_damaged_record_of_nobody_is_reported(town: Town) -> None:
    """Without a receipt there is nothing to make it from; its result is not touched."""
    upload = town.upload("a.png")
    record = town.restore(upload)
    town.store.delete("results", keys.receipt(upload))
    town.store.delete("uploads", "a.png")
    damage(town, keys.record(record.task_id))
    town.later(7200)
    report = town.sweep()
    assert (report.damaged, report.repaired, report.results_retired) == (1, 0, 0)
    assert town.store.read("results", record.result_key)


def test_a_damaged_claim_is_removed_once_its_worker_must_be_dead(town: Town) -> None:
    """No worker could read it, so none would ever begin the task; the attempts before
    it still count.
    """
    upload = town.upload("a.png")
    claim = town.claim(upload)
    town.store.put("results", keys.claim(claim.task_id, 1), b"?", "application/json")
    town.sweep()
    town.store.head("results", keys.claim(claim.task_id, 1))
    town.later()
    town.sweep()
    assert town.claim(upload, "w2").attempt == 1


def test_foreign_objects_in_our_places_are_left_alone(town: Town) -> None:
    """Whatever somebody puts beside our documents is not ours to judge."""
    for key in (
        "receipts/notes.txt",
        "receipts/",
        "processed/readme.json",
        "processed/x/y.png",
        "claims/a/b/c",
        "claims/x",
        "receipts/11111111-1111-1111-1111-11111111111Z.json",
    ):
        town.store.put("results", key, b"{}", "text/plain")
    town.store.put("quarantine", "reason.json", b"{}", "text/plain")
    town.put("folder/")
    town.later(7200)
    before = set(town.store.keys("results"))
    report = town.sweep()
    assert (
        report.notifications_missed,
        report.receipts,
        report.repaired,
        report.results_retired,
    ) == (0, 0, 0, 0)
    assert before <= set(town.store.keys("results"))


def test_a_receipt_made_from_a_record_is_whole(town: Town) -> None:
    """It can be read back and names its task."""
    upload = town.upload("a.png", photo(9), {"params": '{"scale": 2}'})
    record = town.restore(upload)
    town.store.delete("uploads", "a.png")
    damage(town, keys.receipt(upload))
    town.sweep()
    receipt = town.receipt(upload)
    assert isinstance(receipt, Receipt)
    assert isinstance(record, Record)
    assert (receipt.task_id, receipt.workflow) == (record.task_id, record.workflow)


BROKEN = {
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda _: b"",
    "no JSON": lambda _: b"\x89PNG\r\n",
    "another JSON": lambda _: b'["receipt"]',
    "an empty object": lambda _: b"{}",
    "a foreign version": lambda data: json.dumps(json.loads(data) | {"v": 99}).encode(),
    "a field of another type": lambda data: json.dumps(
        json.loads(data) | {"source": 7}
    ).encode(),
    "swapped ids": lambda data: json.dumps(
        json.loads(data)
        | {
            "upload_id": f"{'1' * 8}-1111-5111-8111-{'1' * 12}",
            "task_id": f"{'2' * 8}-2222-5222-8222-{'2' * 12}",
        }
    ).encode(),
}

every_damage = pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)


@every_damage
def test_every_damage_to_a_receipt_is_repaired_from_the_upload(
    town: Town, broken: Callable[[bytes], bytes]
) -> None:
    """Reported once, made anew, the bytes kept, and the photo is restored as if nothing
    had been.
    """
    upload, other = town.upload("a.png"), town.upload("b.png")
    before, key = town.receipt(upload), keys.receipt(upload)
    damage(town, key, bytes_there := broken(town.store.read("results", key)))
    report = town.sweep()
    assert (report.damaged, report.repaired, report.notifications_missed) == (1, 1, 0)
    assert (
        town.receipt(upload).model_copy(update={"decided_at": before.decided_at})
        == before
    )
    assert town.store.read("archive", f"damaged/{key}") == bytes_there
    town.restore(upload)
    town.later()
    again = town.sweep()
    assert (again.damaged, again.waiting) == (0, 1)
    assert other in town.messages()


@every_damage
def test_every_damage_to_a_record_is_repaired_from_receipt_and_result(
    town: Town, broken: Callable[[bytes], bytes]
) -> None:
    """Nothing is computed again; the bytes are kept."""
    upload = town.upload("a.png")
    before = town.restore(upload)
    town.lose()
    key = keys.record(before.task_id)
    damage(town, key, bytes_there := broken(town.store.read("results", key)))
    report = town.sweep()
    assert (report.damaged, report.repaired, report.republished) == (1, 1, 0)
    after = town.record(upload)
    assert (after.upload_id, after.task_id, after.source) == (
        before.upload_id,
        before.task_id,
        before.source,
    )
    assert town.store.read("archive", f"damaged/{key}") == bytes_there
    town.later()
    assert town.sweep().damaged == 0
    assert town.messages() == []


def test_two_swapped_receipts_are_both_repaired(town: Town) -> None:
    """Each is whole, and lies in the other's place."""
    uploads = [town.upload("a.png"), town.upload("b.png")]
    before = [town.receipt(upload) for upload in uploads]
    first, second = (
        town.store.read("results", keys.receipt(upload)) for upload in uploads
    )
    damage(town, keys.receipt(uploads[0]), second)
    damage(town, keys.receipt(uploads[1]), first)
    report = town.sweep()
    assert (report.damaged, report.repaired) == (2, 2)
    for upload, whole in zip(uploads, before, strict=True):
        assert town.receipt(upload).task_id == whole.task_id


def test_a_dry_run_reports_damage_and_repairs_nothing(town: Town) -> None:
    upload = town.upload("a.png")
    damage(town, keys.receipt(upload), b"{}")
    assert town.sweep(dry_run=True).damaged == 1
    assert town.store.read("results", keys.receipt(upload)) == b"{}"


def test_an_upload_of_which_nothing_is_left_is_forgotten(town: Town) -> None:
    """Receipt, upload and record are gone: nobody waits, so its claims go, and nothing
    else is touched or invented.
    """
    upload, other = town.upload("a.png"), town.upload("b.png")
    claim = town.claim(upload)
    town.store.delete("results", keys.receipt(upload))
    town.store.delete("uploads", "a.png")
    town.lose()
    for _ in range(2):
        town.later()
        report = town.sweep()
        assert (
            report.damaged,
            report.repaired,
            report.notifications_missed,
            report.failed,
        ) == (
            0,
            0,
            0,
            0,
        )
    assert town.messages() == [other]
    assert keys.claim(claim.task_id, 1) not in town.store.keys("results")
    assert keys.receipt(upload) not in town.store.keys("results")


def test_a_receipt_that_is_gone_is_made_again_from_the_upload(town: Town) -> None:
    """Not the work: its record stands, for this upload as before."""
    upload = town.upload("a.png")
    before, record = town.receipt(upload), town.restore(upload)
    town.lose()
    town.store.delete("results", keys.receipt(upload))
    town.later()
    assert town.sweep().notifications_missed == 1
    assert town.receipt(upload).task_id == before.task_id
    assert town.record(upload) == record


def test_a_record_without_receipt_and_upload_stays(town: Town) -> None:
    """The result has an owner who may still fetch it; there is nothing to decide any
    more.
    """
    upload = town.upload("a.png")
    record = town.restore(upload)
    town.lose()
    town.store.delete("results", keys.receipt(upload))
    town.store.delete("uploads", "a.png")
    town.later(7200)
    report = town.sweep()
    assert (
        report.damaged,
        report.notifications_missed,
        report.results_retired,
        report.republished,
    ) == (0, 0, 0, 0)
    assert {keys.record(record.task_id), record.result_key} <= set(
        town.store.keys("results")
    )


@pytest.mark.parametrize(
    "result",
    [b"", b"\x89PNG\r\n\x1a\n", b"x" * 40, None],
    ids=["empty", "head", "no PNG", "torn"],
)
def test_a_damaged_record_beside_a_short_result_lets_the_photo_be_restored_again(
    town: Town, result: bytes | None
) -> None:
    """A disk that was full leaves both short: no result, and no end of the pass."""
    upload, other = town.upload("a.png"), town.upload("b.png")
    record = town.restore(upload)
    whole = town.store.read("results", record.result_key)
    about = {"bytes": str(len(whole)), "sha256": hashlib.sha256(whole).hexdigest()}
    town.store.put(
        "results",
        record.result_key,
        whole[:-9] if result is None else result,
        "image/png",
        about,
    )
    town.store.put("results", keys.record(record.task_id), b"", "application/json")
    town.lose()
    town.later()
    report = town.sweep()
    assert (report.damaged, report.repaired, report.failed) == (1, 1, 0)
    assert other in town.messages()
    town.later()
    town.sweep()
    assert sorted(town.messages()) == sorted([upload, other])
