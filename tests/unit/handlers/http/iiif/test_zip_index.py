"""The directory of a large ZIP is read by ranges, and few indexes are kept."""

from __future__ import annotations

import io
import zipfile
from uuid import UUID, uuid4

import pytest

from handlers.http.iiif import zip_index
from handlers.http.iiif.zip_index import Indexes
from shared.uploads.pyramids import Pyramid
from tests.support.memory_store import MemoryStore

ENTRIES = 3000


class Reads(MemoryStore):
    """Counts the ranges that are read."""

    count = 0

    def read_part(self, *args: object) -> bytes:
        self.count += 1
        return super().read_part(*args)  # type: ignore[arg-type]


@pytest.fixture
def store() -> Reads:
    return Reads()


def stored(store: Reads, entries: int) -> Pyramid:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(entries):
            archive.writestr(zipfile.ZipInfo(f"tile/{number:06d}"), str(number))
    key = f"tiles/{uuid4()}.zip"
    store.put("results", key, file.getvalue(), "application/zip")
    return Pyramid(store.head("results", key), 1, 1)


def test_each_entry_is_found_though_the_directory_is_longer_than_the_end_that_is_read(
    store: Reads,
) -> None:
    pyramid = stored(store, ENTRIES)
    indexes = Indexes(store, store.clock)
    key = ("ann", UUID(int=1), "result")
    index = indexes.get(key, lambda: pyramid)
    assert index is not None
    assert len(index.entries) == ENTRIES
    assert store.count <= 4
    for number in (0, 1234, ENTRIES - 1):
        entry = index.entries[f"tile/{number:06d}"]
        assert indexes.read(key, index, entry) == str(number).encode()


def test_the_oldest_indexes_are_forgotten_and_each_asker_has_one_of_their_own(
    store: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zip_index, "MOST_ENTRIES", 25)
    indexes = Indexes(store, store.clock)
    asked: list[str] = []

    def look(user: str) -> None:
        pyramid = stored(store, 10)

        def find() -> Pyramid:
            asked.append(user)
            return pyramid

        indexes.get((user, UUID(int=1), "result"), find)

    for user in ("ann", "eve", "ann", "bob", "eve", "ann"):
        look(user)
    assert asked == ["ann", "eve", "bob", "ann"]
