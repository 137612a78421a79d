"""A job sends every photo once, whatever ends its run, and says what it did not send."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import zipfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from infra.ingest import inventory, sources
from infra.ingest.journal import Journal
from infra.ingest.sending import Order, Rate, Sending
from shared import workflows
from shared.uploads import identity, ingests
from shared.uploads.documents import IngestRef
from shared.uploads.ingests import IngestItem, IngestStore
from tests.support.memory_store import MemoryStore
from tests.unit.infra.ingest.test_lists import folder_of

JOB = identity.ingest_job("album")


class NoLimit:
    def __init__(self) -> None:
        self.uploads: list[str] = []

    def wait_for_room(self) -> None:
        pass

    def add(self, upload_id: str) -> None:
        self.uploads.append(upload_id)


class PowerCut(Exception):
    """Ends a run at once, as `kill -9` does."""


@pytest.fixture
def store() -> Any:
    return MemoryStore()


def send(
    store: Any, place: Path, journal_file: Path, *, is_continued: bool = False
) -> list[str]:
    """One run of the job; the uploads that it sent or found sent."""
    order = Order(JOB, workflows.resolve("fast", {}), "bulk", "uploads", 1000, 4)
    limit = NoLimit()
    source = sources.opened(place)
    with Journal(journal_file) as journal:
        sending = Sending(
            store,
            IngestStore(store, "results"),
            journal,
            order,
            rate=Rate(None),
            throttle=limit,
            is_continued=is_continued,
        )
        sending.run(source, inventory.taken(source))
    return limit.uploads


def puts(store: Any) -> list[str]:
    """Keys in the uploads bucket, by the versions that each PUT leaves."""
    return [info.key for info in store.list("uploads")]


def items(store: Any) -> dict[str | None, IngestItem]:
    found = IngestStore(store, "results").items(JOB)
    return {item.path: item for item in found}


def test_two_photos_of_one_name_stay_two(store: Any, tmp_path: Path) -> None:
    """Each knows its place; the same again sends nothing."""
    place = folder_of(
        tmp_path / "album", {"1931/img001.jpg": b"one", "1945/img001.jpg": b"two"}
    )
    first = send(store, place, tmp_path / "journal")
    assert len(set(first)) == 2
    assert set(items(store)) == {"1931/img001.jpg", "1945/img001.jpg"}
    refs = {
        ingests.ref_of(store.head("uploads", key).metadata["ingest"])
        for key in puts(store)
    }
    assert refs == {IngestRef(job=JOB, item=number) for number in (1, 2)}  # type: ignore[arg-type]
    assert send(store, place, tmp_path / "journal") == []


def test_a_journal_of_an_earlier_release_goes_on(store: Any, tmp_path: Path) -> None:
    """It knows no times of files yet; those that are sent now have one."""
    place = folder_of(tmp_path / "album", {"a.jpg": b"one"})
    send(store, place, tmp_path / "journal")
    with closing(sqlite3.connect(tmp_path / "journal")) as journal:
        journal.execute("alter table items drop column modified_at")
        journal.commit()
    folder_of(place, {"b.jpg": b"two"})
    send(store, place, tmp_path / "journal")
    found = items(store)
    assert found["a.jpg"].modified_at is None
    changed_at = (place / "b.jpg").stat().st_mtime
    assert found["b.jpg"].modified_at == datetime.fromtimestamp(changed_at, UTC)


def test_twins_have_a_place_each(store: Any, tmp_path: Path) -> None:
    """Each is an upload of its own, which its owner may erase alone; the second is a
    duplicate to the handler.
    """
    files = {f"{number}/same.jpg": b"one" for number in range(20)}
    uploads = send(store, folder_of(tmp_path / "album", files), tmp_path / "journal")
    assert len(set(uploads)) == len(puts(store)) == len(items(store)) == 20


@pytest.mark.parametrize("keeps_journal", [True, False])
def test_a_run_that_was_killed_goes_on(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keeps_journal: bool
) -> None:
    """Right after a PUT and before the journal knows of it; on this machine or, without
    its journal, on another one.
    """
    place = folder_of(
        tmp_path / "album", {f"{number}.jpg": bytes([number]) for number in range(9)}
    )
    put, sent = store.put, list[str]()

    def put_and_die(bucket: str, key: str, *rest: Any) -> Any:
        info = put(bucket, key, *rest)
        sent.append(key)
        if bucket == "uploads" and len(sent) > 4:
            raise PowerCut
        return info

    monkeypatch.setattr(store, "put", put_and_die)
    with pytest.raises(PowerCut):
        send(store, place, tmp_path / "journal")
    before = [key for key in sent if key.startswith("incoming/")]
    monkeypatch.setattr(
        store, "put", lambda *given: sent.append(given[1]) or put(*given)
    )
    journal = tmp_path / ("journal" if keeps_journal else "another")
    send(store, place, journal, is_continued=not keeps_journal)
    after = [key for key in sent if key.startswith("incoming/")]
    assert len(before) < 9 + 1
    assert len(after) == len(set(after)) == 9
    assert {item.upload_id is None for item in items(store).values()} == {False}


def test_a_run_that_was_killed_before_it_wrote_its_items_writes_them(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything was sent, and the next run finds nothing to send."""
    place = folder_of(tmp_path / "album", {"a.jpg": b"one", "b.jpg": b"two"})
    put = store.put

    def put_no_page(bucket: str, *rest: Any) -> Any:
        if bucket == "results":
            raise PowerCut
        return put(bucket, *rest)

    monkeypatch.setattr(store, "put", put_no_page)
    with pytest.raises(PowerCut):
        send(store, place, tmp_path / "journal")
    assert items(store) == {}
    monkeypatch.undo()
    assert send(store, place, tmp_path / "journal") == []
    assert set(items(store)) == {"a.jpg", "b.jpg"}


def tiff_of(pages: int) -> bytes:
    images = [Image.new("L", (2, 2), number) for number in range(pages)]
    out = io.BytesIO()
    images[0].save(out, "TIFF", save_all=True, append_images=images[1:])
    return out.getvalue()


def test_every_page_is_an_upload(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after a run that ended between two of them; a file with more pages than are
    taken goes as one, and is refused once.
    """
    files = {"a.tif": tiff_of(3), "b.tiff": tiff_of(5), "c.jpg": b"one"}
    place = folder_of(tmp_path / "album", files)
    put = store.put

    def put_and_die(bucket: str, *rest: Any) -> Any:
        if rest[2:] and rest[-1].get("page") == "2":
            raise PowerCut
        return put(bucket, *rest)

    monkeypatch.setattr(store, "put", put_and_die)
    with pytest.raises(PowerCut):
        send(store, place, tmp_path / "journal")
    monkeypatch.setattr(store, "put", put)
    send(store, place, tmp_path / "journal")
    sent = items(store)
    assert list(sent) == ["a.tif", "a.tif#page=2", "a.tif#page=3", "b.tiff", "c.jpg"]
    asked = {}
    for path, item in sent.items():
        assert item.key is not None
        metadata = store.head("uploads", item.key).metadata
        asked[path] = (metadata.get("page"), metadata["filename"])
    assert asked == {
        "a.tif": (None, "a.tif"),
        "a.tif#page=2": ("2", "a.tif"),
        "a.tif#page=3": ("3", "a.tif"),
        "b.tiff": (None, "b.tiff"),
        "c.jpg": (None, "c.jpg"),
    }
    assert len(puts(store)) == len(sent)


def test_a_photo_that_changed_is_sent_again(store: Any, tmp_path: Path) -> None:
    place = folder_of(tmp_path / "album", {"a.jpg": b"one", "b.jpg": b"two"})
    send(store, place, tmp_path / "journal")
    (place / "a.jpg").write_bytes(b"another")
    assert len(send(store, place, tmp_path / "journal")) == 1
    assert len(puts(store)) == 3


def test_what_is_wrong_costs_only_itself(store: Any, tmp_path: Path) -> None:
    """And is mended by the next run, which sends it then."""
    digest = hashlib.sha256(b"good").hexdigest()
    files = {
        "a.jpg": b"goof",
        "big.jpg": bytes(1001),
        "fine.jpg": b"fine",
        "row.jpg": b"x",
        "list.sha256": f"{digest}  a.jpg\n".encode(),
        "metadata/metadata.csv": b"filename,workflow\nrow.jpg,nonsense\n",
    }
    place = folder_of(tmp_path / "album", files)
    assert len(send(store, place, tmp_path / "journal")) == 1
    codes = {path: item.error_code for path, item in items(store).items()}
    assert codes == {
        "a.jpg": "checksum_mismatch",
        "big.jpg": "too_large",
        "fine.jpg": None,
        "row.jpg": "bad_manifest_row",
    }
    (place / "a.jpg").write_bytes(b"good")
    assert len(send(store, place, tmp_path / "journal")) == 1
    mended = items(store)["a.jpg"]
    assert (mended.error_code, mended.upload_id is None) == (None, False)


def test_a_damaged_member_costs_only_itself(store: Any, tmp_path: Path) -> None:
    packed = tmp_path / "album.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.jpg", b"some bytes of it")
        archive.writestr("b.jpg", b"x")
    data = packed.read_bytes().replace(b"some bytes", b"other byte")
    packed.write_bytes(data)
    assert len(send(store, packed, tmp_path / "journal")) == 1
    assert items(store)["a.jpg"].error_code == "source_unreadable"


def test_an_erased_photo_leaves_no_word_in_its_job(store: Any, tmp_path: Path) -> None:
    """Not even where the job's page is written again, and none of another's photo."""
    place = folder_of(tmp_path / "album", {"grandma.jpg": b"one", "b.jpg": b"two"})
    send(store, place, tmp_path / "journal")
    documents = IngestStore(store, "results")
    grandma, other = items(store)["grandma.jpg"], items(store)["b.jpg"]
    assert grandma.upload_id is not None
    stranger = IngestRef(job=JOB, item=other.item)  # type: ignore[arg-type]
    documents.erase(stranger, "another upload")
    assert "b.jpg" in items(store)
    documents.erase(IngestRef(job=JOB, item=grandma.item), grandma.upload_id)  # type: ignore[arg-type]
    documents.write_page(JOB, [grandma, other])
    assert set(items(store)) == {None, "b.jpg"}
    for info in store.list("results"):
        assert b"grandma" not in store.read("results", info.key)
