"""A folder that is watched: what is sent, when, and where its result goes, whenever the
watch is killed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.client import Unauthorized, UploadState
from infra.watch.journal import Journal
from infra.watch.watcher import Folders, Watcher
from shared.errors import (
    Code,
    PermanentError,
    SettingsError,
    TransientError,
)

SETTLE_S = 5.0


class Killed(BaseException):
    """`kill -9`, as far as a process can feel it."""


class Api:
    """Restores everything at once. A ticket is that of the content, as by an
    `Idempotency-Key`; `raises` is raised by the next call of that name, before it is made
    or behind it.
    """

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.photos: dict[str, bytes] = {}
        self.status = "success"
        self.raises: dict[str, BaseException] = {}
        self.raises_behind: dict[str, BaseException] = {}

    def _fail(self, name: str, where: dict[str, BaseException]) -> None:
        error = where.pop(name, None)
        if error is not None:
            raise error

    def submit(self, path: Path) -> str:
        self._fail("submit", self.raises)
        data = path.read_bytes()
        self.sent.append(path.name)
        self.photos[data.decode()] = data
        self._fail("submit", self.raises_behind)
        return data.decode()

    def state(self, ticket: str) -> UploadState:
        self._fail("state", self.raises)
        status = self.status if ticket in self.photos else "expired"
        return UploadState(ticket, status, task_id=ticket, error_detail="it is so")  # type: ignore[arg-type]

    def save(self, task_id: str, to: Path) -> None:
        self._fail("save", self.raises)
        to.write_bytes(b"restored " + self.photos[task_id])
        self._fail("save", self.raises_behind)


class Rig:
    """A folder, an API and a clock; `watch()` begins as a new process does."""

    def __init__(self, folder: Path, results: Path) -> None:
        folder.mkdir(exist_ok=True)
        results.mkdir(exist_ok=True)
        self.folders = Folders(folder, results)
        self.api = Api()
        self.now_s = 0.0
        self.told: list[str] = []
        self.journal: Journal | None = None

    def watch(self) -> Watcher:
        self.close()
        self.journal = Journal(self.folders.results / ".journal.sqlite")
        return Watcher(
            self.folders,
            self.api,
            self.journal,
            SETTLE_S,
            self.told.append,
            lambda: self.now_s,
        )

    def close(self) -> None:
        if self.journal is not None:
            self.journal.__exit__()

    def drop(self, path: str, text: str) -> None:
        place = self.folders.watched / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def run(self, watcher: Watcher) -> None:
        """Until everything has ended."""
        for _ in range(20):
            if watcher.look():
                return
            self.now_s += SETTLE_S
        raise AssertionError(self.told)

    def results(self) -> dict[str, str]:
        root = self.folders.results
        return {
            str(path.relative_to(root)): path.read_text()
            for path in sorted(root.rglob("*.png"))
        }


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    found = Rig(tmp_path / "in", tmp_path / "out")
    yield found
    found.close()


def test_results_lie_as_the_photos_do(rig: Rig) -> None:
    rig.drop("a.jpg", "one")
    rig.drop("1950/b.tif", "two")
    rig.drop("notes.txt", "three")
    rig.drop(".hidden/c.jpg", "four")
    rig.run(rig.watch())
    assert rig.results() == {"a.png": "restored one", "1950/b.png": "restored two"}


def test_beside_a_photo_its_result_is_no_photo(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "in", tmp_path / "in")
    rig.drop("a.png", "one")
    rig.run(rig.watch())
    rig.run(rig.watch())
    rig.close()
    assert rig.api.sent == ["a.png"]
    assert rig.results() == {"a.png": "one", "a-restored.png": "restored one"}


def test_nothing_is_sent_while_it_is_written(rig: Rig) -> None:
    watcher = rig.watch()
    for text in ("o", "on", "one"):
        rig.drop("a.jpg", text)
        assert not watcher.look()
        rig.now_s += SETTLE_S - 1
    assert rig.api.sent == []
    rig.run(watcher)
    assert rig.results() == {"a.png": "restored one"}


@pytest.mark.parametrize(
    ("call", "behind"),
    [
        ("submit", False),
        ("submit", True),
        ("state", False),
        ("save", False),
        ("save", True),
    ],
)
def test_killed_at_any_point_it_goes_on_without_loss_or_twice(
    rig: Rig, call: str, behind: bool
) -> None:
    rig.drop("a.jpg", "one")
    rig.drop("b.jpg", "two")
    where = rig.api.raises_behind if behind else rig.api.raises
    where[call] = Killed()
    with pytest.raises(Killed):
        rig.run(rig.watch())
    rig.run(rig.watch())
    assert rig.results() == {"a.png": "restored one", "b.png": "restored two"}
    assert len(rig.api.photos) == 2
    sent = len(rig.api.sent)
    rig.run(rig.watch())
    assert len(rig.api.sent) == sent


def test_a_result_takes_no_name_of_another_file(rig: Rig) -> None:
    """Nor of another photo's result, whose name differs in its ending alone."""
    (rig.folders.results / "a.png").write_text("mine")
    rig.drop("a.jpg", "one")
    rig.drop("a.tif", "two")
    rig.run(rig.watch())
    assert rig.results() == {
        "a.png": "mine",
        "a-2.png": "restored one",
        "a-3.png": "restored two",
    }


def test_a_photo_that_changes_is_restored_anew(rig: Rig) -> None:
    watcher = rig.watch()
    rig.drop("a.jpg", "one")
    rig.run(watcher)
    rig.drop("a.jpg", "better")
    rig.run(watcher)
    assert rig.results() == {"a.png": "restored better"}


def test_one_bad_photo_costs_only_itself(rig: Rig) -> None:
    """One that was refused before it was sent is tried again by the next watch."""
    rig.drop("a.jpg", "one")
    rig.drop("b.jpg", "two")
    rig.api.raises["submit"] = SettingsError("9 bytes; an upload may have 8")
    rig.run(rig.watch())
    assert rig.results() == {"b.png": "restored two"}
    assert "a.jpg: not restored: 9 bytes; an upload may have 8" in rig.told
    rig.run(rig.watch())
    assert rig.results() == {"a.png": "restored one", "b.png": "restored two"}


def test_a_photo_that_failed_is_told_and_not_sent_again(rig: Rig) -> None:
    rig.api.status = "failed"
    rig.drop("a.jpg", "one")
    rig.run(rig.watch())
    rig.run(rig.watch())
    assert rig.api.sent == ["a.jpg"]
    assert rig.told.count("a.jpg: not restored: it is so") == 1


@pytest.mark.parametrize(
    ("call", "away"),
    [
        ("submit", TransientError(Code.INTERNAL, "away")),
        ("submit", PermanentError(Code.WORKFLOW_UNAVAILABLE, "away")),
        ("submit", PermanentError(Code.STORAGE_UNAVAILABLE, "away")),
        ("save", TransientError(Code.STORAGE_UNAVAILABLE, "away")),
    ],
)
def test_what_is_away_is_waited_for(rig: Rig, call: str, away: Exception) -> None:
    rig.drop("a.jpg", "one")
    rig.api.raises[call] = away
    rig.run(rig.watch())
    assert rig.results() == {"a.png": "restored one"}
    assert sum("waits: away" in line for line in rig.told) == 1


def test_a_ticket_that_expired_is_asked_for_again(rig: Rig) -> None:
    """The watch was killed before the photo came to the store."""
    rig.drop("a.jpg", "one")
    rig.api.raises["state"] = Killed()
    with pytest.raises(Killed):
        rig.run(rig.watch())
    rig.api.photos.clear()
    rig.run(rig.watch())
    assert rig.results() == {"a.png": "restored one"}


def test_a_key_that_is_refused_ends_the_watch(rig: Rig) -> None:
    """And no photo is noted as refused."""
    rig.drop("a.jpg", "one")
    rig.api.raises["submit"] = Unauthorized("no such key")
    with pytest.raises(Unauthorized):
        rig.run(rig.watch())
    rig.run(rig.watch())
    assert rig.results() == {"a.png": "restored one"}
