"""What `darkroom submit` finds, how it names what it sends, where it puts what comes
back; how migrations are read.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from infra import migrate, uploads
from infra.commands import submit, submit_by_bucket
from infra.commands.submit_by_api import Wishes
from shared import workflows
from shared.errors import SettingsError
from shared.runtime.settings import Settings
from shared.uploads import identity, keys
from tests.support.memory_store import MemoryStore
from tests.support.upload_world import World, photo

FAST = {"workflow": "fast", "params": "{}", "priority": "interactive"}


@pytest.fixture
def store() -> Any:
    return MemoryStore()


def test_folders_give_their_photos_and_files_are_taken_as_named(tmp_path: Path) -> None:
    """A folder is searched to its depth for image suffixes of any case; a file named
    outright needs none.
    """
    for name in ("b.JPG", "deep/er/a.png", "notes.txt", "raw.cr3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found, skipped = submit._found([tmp_path, tmp_path / "raw.cr3"])
    assert [str(each.path.relative_to(tmp_path)) for each in found] == [
        "b.JPG",
        "deep/er/a.png",
        "raw.cr3",
    ]
    assert [path.name for path in skipped] == ["notes.txt"]


def test_results_lie_as_their_originals_do(tmp_path: Path) -> None:
    """Below the folder that was named; of two with one stem the second has a number."""
    for name in ("1931/a.jpg", "1931/a.tif", "1945/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found, _ = submit._found([tmp_path])
    out = tmp_path / "out"
    targets = submit._targets(found, out)
    assert [str(target.relative_to(out)) for target in targets] == [
        "1931/a.png",
        "1931/a-2.png",
        "1945/a.png",
    ]


def test_no_upload_overwrites_other_bytes(store: Any, tmp_path: Path) -> None:
    """Two photos of one name, or one photo with two requests, get two keys; the same
    again gets the same key.
    """
    photo, other = tmp_path / "a" / "photo.jpg", tmp_path / "b" / "photo.jpg"
    for path, data in ((photo, b"one"), (other, b"two")):
        path.parent.mkdir()
        path.write_bytes(data)
    for path, metadata in (
        (photo, FAST),
        (other, FAST),
        (photo, FAST | {"params": '{"scale": 2}'}),
        (photo, FAST),
    ):
        submit_by_bucket._send(store, Settings(), path, metadata)
    found = [info.key for info in store.list("uploads")]
    assert len(found) == 3
    assert all(
        key.startswith("incoming/fast/") and key.endswith("/photo.jpg") for key in found
    )


def test_an_upload_carries_its_request(store: Any, tmp_path: Path) -> None:
    """Workflow, parameters and priority travel as object metadata, in ASCII whatever
    they hold.
    """
    (tmp_path / "照片.jpg").write_bytes(b"one")
    wishes = Wishes("fast", {"scale": 2}, "bulk")
    metadata = submit_by_bucket._metadata(
        workflows.resolve("fast", wishes.params), wishes
    )
    upload = submit_by_bucket._send(store, Settings(), tmp_path / "照片.jpg", metadata)
    (info,) = store.list("uploads")
    assert dict(store.head("uploads", info.key).metadata) == {
        "workflow": "fast",
        "params": '{"scale": 2}',
        "priority": "bulk",
    }
    assert "".join(metadata.values()).isascii()
    assert upload.upload_id == identity.upload_id("uploads", info.key, info.etag)


def test_a_mask_lies_beside_its_photo_(store: Any, tmp_path: Path) -> None:
    """Another mask is another request, at another key."""
    photo, mask = tmp_path / "photo.jpg", tmp_path / "painted.png"
    photo.write_bytes(b"one")
    for painted in (b"mask", b"other"):
        mask.write_bytes(painted)
        submit_by_bucket._send(store, Settings(), photo, FAST, mask)
    names = [info.key.rpartition("/")[2] for info in store.list("uploads")]
    assert sorted(names) == ["photo.jpg"] * 2 + ["photo.mask.png"] * 2


def test_the_same_file_sent_again_is_not_told_how_it_ended_before(
    store: Any, tmp_path: Path
) -> None:
    """As when a limit was raised in between: the receipt of the first is not that of
    the second.
    """
    (tmp_path / "photo.jpg").write_bytes(b"one")
    world = World()
    upload = submit_by_bucket._send(store, Settings(), tmp_path / "photo.jpg", FAST)
    receipt = world.receipt(world.upload("a.png", photo()))
    assert upload.sent_at
    for seconds, is_of in ((-1, False), (0, True)):
        at = upload.sent_at + timedelta(seconds=seconds)
        source = receipt.source.model_copy(update={"upload_time": at})
        assert upload.is_of(receipt.model_copy(update={"source": source})) is is_of


def test_a_result_never_replaces_a_file(tmp_path: Path) -> None:
    """A second `photo.png` is `photo-2.png`, a third `photo-3.png`."""
    names = []
    for _ in range(3):
        path = submit._free(tmp_path, "photo")
        path.touch()
        names.append(path.name)
    assert names == ["photo.png", "photo-2.png", "photo-3.png"]


def test_an_upload_that_nobody_saw_is_still_uploaded(
    store: Any, tmp_path: Path
) -> None:
    """Without receipt, record and reason there is nothing to tell yet."""
    (tmp_path / "a.jpg").write_bytes(b"one")
    upload = submit_by_bucket._send(store, Settings(), tmp_path / "a.jpg", FAST)
    uploads.look(store, Settings(), upload)
    assert (upload.state, upload.ended) == ("uploaded", False)
    assert not list(store.list("results", keys.receipt(upload.upload_id)))


def test_migrations_are_numbered_without_a_gap(tmp_path: Path) -> None:
    """A gap or a name that is no migration is refused with the name that was expected."""
    (tmp_path / "0001_first.sql").write_text("select 1")
    (tmp_path / "0003_third.sql").write_text("select 3")
    with pytest.raises(SettingsError, match=r"0002_name\.sql"):
        migrate.migrations(tmp_path)


def test_our_own_migrations_are_in_order() -> None:
    """The files in the repository start at 1 and have no gap."""
    assert [m.version for m in migrate.migrations()] == list(
        range(1, len(migrate.migrations()) + 1)
    )
