"""A backup from a store in memory into a folder."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from infra.backup import manifest, process, sealed, tables
from infra.backup.index import Index, held
from infra.backup.manifest import File
from infra.backup.process import FIRST_S, Figures, Rounds
from infra.backup.run import Report, back_up, index_of
from infra.backup.vault import FolderVault, add_blob, blob, checked, vault_of
from infra.backup.verify import verified
from shared.errors import NotFound, PermanentError, SettingsError
from shared.runtime.settings import Settings
from tests.support.memory_store import MemoryStore

BUCKETS = ("uploads", "results", "quarantine", "archive", "access")


class Counting(MemoryStore):
    """It counts what is asked of single objects, and dies where it is told to."""

    def __init__(self) -> None:
        super().__init__(buckets=BUCKETS)
        self.opened: list[str] = []
        self.dies_at = 0

    def open(self, bucket: str, key: str, version: str | None = None) -> Any:
        self.opened.append(key)
        if self.dies_at and len(self.opened) >= self.dies_at:
            raise KeyboardInterrupt
        return super().open(bucket, key, version)


@pytest.fixture
def store() -> Counting:
    found = Counting()
    for number in range(30):
        found.put("uploads", f"a/{number:02}.png", b"photo %d" % number, "image/png")
    found.put("results", "processed/t.json", b"{}", "application/json", {"user": "ann"})
    found.put("results", ".darkroom/warm", b"1", "text/plain")
    found.put("results", "tiles/t.zip", b"made again", "application/zip")
    return found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    models = tmp_path / "models"
    models.mkdir()
    (models / "net.pth").write_bytes(b"weights")
    return Settings(
        state_dir=tmp_path / "state",
        models_dir=models,
        pepper=SecretStr("chilli"),
        api_key=SecretStr("key"),
    )


def run(settings: Settings, store: MemoryStore, **options: Any) -> Report:
    return back_up(settings, store=store, **options)  # type: ignore[arg-type]


def keys(settings: Settings) -> list[tuple[str, str]]:
    index = held(vault_of(settings))
    return [(row.bucket, row.key) for b in BUCKETS for row in index.objects(b)]


def test_a_run_keeps_everything_that_is_stored(
    settings: Settings, store: Counting
) -> None:
    report = run(settings, store)
    assert (report.objects, report.new, report.full) == (31, 31, True)
    index = held(vault_of(settings))
    (row,) = index.objects("results")
    info = store.head("results", "processed/t.json")
    assert (row.key, row.etag, row.type) == (info.key, info.etag, info.content_type)
    assert row.meta == dict(info.metadata)
    assert b"".join(checked(vault_of(settings), row.sha256)) == b"{}"
    assert [file.name for file in index.files("model")] == ["net.pth"]
    assert "enhance" in {file.name for file in index.files("workflow")}


def test_a_second_run_asks_for_no_object_that_is_the_same(
    settings: Settings, store: Counting
) -> None:
    run(settings, store)
    store.opened.clear()
    store.put("uploads", "a/03.png", b"another", "image/png")
    store.delete("uploads", "a/04.png")
    report = run(settings, store)
    assert store.opened == ["a/03.png"]
    assert (report.new, report.gone, report.full) == (1, 1, False)
    assert ("uploads", "a/04.png") not in keys(settings)
    assert len(keys(settings)) == 30


class Busy(MemoryStore):
    """A photo ends with each object that is read: a copy, its record, a row."""

    def __init__(self) -> None:
        super().__init__(buckets=BUCKETS)
        self.rows: list[str] = []
        self.end_one()

    def end_one(self) -> None:
        name = f"{len(self.rows):02}"
        self.put("uploads", name, b"photo", "image/png")
        self.put("results", f"copies/{name}.webp", b"copy", "image/webp")
        self.put("results", f"processed/{name}.json", b"{}", "application/json")
        self.rows.append(name)

    def open(self, bucket: str, key: str, version: str | None = None) -> Any:
        if len(self.rows) < 20:
            self.end_one()
        return super().open(bucket, key, version)


def test_what_is_told_of_is_in_the_backup_while_photos_go_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row has its record, a record its copy and its upload."""
    store = Busy()
    told: list[str] = []

    @contextmanager
    def connected(_: object) -> Iterator[None]:
        yield

    def read(*_: object) -> list[File]:
        told.extend(store.rows)
        return []

    monkeypatch.setattr(tables, "connected", connected)
    monkeypatch.setattr(tables, "migrations", lambda _: [])
    monkeypatch.setattr(tables, "read", read)
    with_log = settings.model_copy(update={"database_url": SecretStr("postgresql://")})
    for _ in range(2):
        run(with_log, store)
        kept = set(keys(settings))
        records = {key[10:12] for bucket, key in kept if key.startswith("processed/")}
        assert records >= set(told) != set()
        for name in records:
            assert {("results", f"copies/{name}.webp"), ("uploads", name)} <= kept


def test_what_was_interrupted_goes_on_without_loss(
    settings: Settings, store: Counting
) -> None:
    store.dies_at = 20
    with pytest.raises(KeyboardInterrupt):
        run(settings, store)
    with pytest.raises(NotFound):
        held(vault_of(settings))
    store.dies_at = 0
    assert run(settings, store).objects == 31
    assert verified(vault_of(settings)).findings == []


def test_without_its_index_a_run_goes_by_the_manifests(
    settings: Settings, store: Counting
) -> None:
    run(settings, store)
    store.put("uploads", "new.png", b"new", "image/png")
    run(settings, store)
    index_of(settings, vault_of(settings)).unlink()
    store.opened.clear()
    assert run(settings, store).new == 0
    assert store.opened == []


def test_an_altered_and_a_missing_blob_are_found(
    settings: Settings, store: Counting
) -> None:
    run(settings, store)
    vault = vault_of(settings)
    rows = list(held(vault).objects("uploads"))
    for row, change in ((rows[0], b"altered"), (rows[1], None)):
        path = Path(vault.place) / blob(row.sha256)
        path.unlink() if change is None else path.write_bytes(change)
    altered, missing = sorted(
        verified(vault).findings, key=lambda text: "missing" in text
    )
    assert rows[0].sha256 in altered
    assert "altered" in altered
    assert altered.startswith(f"uploads/{rows[0].key}: ")
    assert rows[1].sha256 in missing


def test_an_altered_manifest_is_found_and_an_earlier_run_serves(
    settings: Settings, store: Counting
) -> None:
    first = run(settings, store)
    store.put("uploads", "new.png", b"new", "image/png")
    last = run(settings, store)
    path = Path(vault_of(settings).place) / last.run
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(PermanentError, match="altered or cut off"):
        held(vault_of(settings))
    assert held(vault_of(settings), first.run).count()[0] == 31


def test_a_missing_manifest_is_found(settings: Settings, store: Counting) -> None:
    run(settings, store)
    for name in ("b.png", "c.png"):
        store.put("uploads", name, b"new", "image/png")
        last = run(settings, store)
    middle = manifest.runs(vault_of(settings))[-2].name
    assert middle != last.run
    (Path(vault_of(settings).place) / middle).unlink()
    with pytest.raises(PermanentError, match="is missing"):
        held(vault_of(settings))


def test_an_object_that_cannot_be_read_costs_only_itself(
    settings: Settings, store: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.errors import ObjectUnreadable

    usual = store.open

    def refusing(bucket: str, key: str, version: str | None = None) -> Any:
        if key == "a/07.png":
            raise ObjectUnreadable("the store gives others")
        return usual(bucket, key, version)

    monkeypatch.setattr(store, "open", refusing)
    report = run(settings, store)
    assert report.objects == 30
    assert any("cannot be read" in finding for finding in report.findings)


def test_another_stacks_backup_is_left_alone(
    settings: Settings, store: Counting
) -> None:
    run(settings, store)
    other = settings.model_copy(update={"pepper": SecretStr("another")})
    with pytest.raises(SettingsError, match="another stack"):
        run(other, store)


def test_what_was_written_is_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vault that swallows bytes is noticed while there is still another copy."""
    vault = FolderVault(tmp_path)
    usual = vault.add
    monkeypatch.setattr(vault, "add", lambda name, _file: usual(name, io.BytesIO(b"x")))
    with pytest.raises(PermanentError, match="altered"):
        add_blob(vault, "0" * 64, io.BytesIO(b"y"))


def test_nothing_is_written_over(tmp_path: Path) -> None:
    vault = FolderVault(tmp_path)
    assert vault.add("a", io.BytesIO(b"1"))
    assert not vault.add("a", io.BytesIO(b"2"))
    assert b"".join(vault.chunks("a")) == b"1"


def test_secrets_open_with_the_key_and_nothing_else(
    settings: Settings, store: Counting, tmp_path: Path
) -> None:
    file = sealed.draw_key(settings)
    assert file is not None
    assert settings.state_dir not in file.parents
    assert file.stat().st_mode & 0o777 == 0o600
    assert sealed.draw_key(settings) is None
    assert run(settings, store).secrets
    vault = vault_of(settings)
    (row,) = held(vault).files("secrets")
    data = b"".join(checked(vault, row.sha256))
    assert sealed.opened(data, file)["settings"]["pepper"] == "chilli"
    for path in Path(vault.place).rglob("*"):
        assert path.is_dir() or b"chilli" not in path.read_bytes()
    other = settings.model_copy(update={"state_dir": tmp_path / "other"})
    wrong = sealed.draw_key(other)
    assert wrong is not None
    with pytest.raises(SettingsError, match="does not open"):
        sealed.opened(data, wrong)


def test_a_backup_without_a_key_says_that_it_holds_no_secrets(
    settings: Settings, store: Counting
) -> None:
    report = run(settings, store)
    assert not report.secrets
    assert any("pepper" in finding for finding in report.findings)


def test_a_manifest_has_no_secret(settings: Settings, store: Counting) -> None:
    run(settings, store)
    index = held(vault_of(settings))
    assert index.run is not None
    assert "chilli" not in json.dumps(index.run.settings)


@pytest.mark.parametrize(
    "url", ["s3://", "s3://uploads/backup", "https://backup.example"]
)
def test_an_address_that_is_none_is_refused(settings: Settings, url: str) -> None:
    with pytest.raises(SettingsError, match="DARKROOM_BACKUP_URL"):
        vault_of(settings.model_copy(update={"backup_url": url}))


def test_a_full_manifest_follows_each_day(settings: Settings, store: Counting) -> None:
    run(settings, store)
    path = index_of(settings, vault_of(settings))
    index = Index(path)
    index._set("full", (datetime.now(UTC) - timedelta(days=1)).isoformat())
    index.close()
    assert run(settings, store).full


@pytest.mark.parametrize(("interval_s", "threads"), [(0.0, 0), (3600.0, 1)])
def test_without_an_interval_no_backup_is_made_by_itself(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    interval_s: float,
    threads: int,
) -> None:
    """The process is there nevertheless, and does not make one after the other."""
    begun: list[object] = []
    monkeypatch.setattr(process, "Figures", lambda: Figures(CollectorRegistry()))
    monkeypatch.setattr(process.operations, "start", lambda *_: None)
    monkeypatch.setattr(process, "on_termination", lambda stop: stop())
    monkeypatch.setattr(process.Rounds, "run", lambda rounds: begun.append(rounds))
    monkeypatch.setattr(threading.Thread, "start", threading.Thread.run)
    process.main(settings, interval_s)
    assert len(begun) == threads


@pytest.fixture
def rounds(settings: Settings) -> Rounds:
    return Rounds(settings, 3600, Figures(CollectorRegistry()))


def test_the_first_run_comes_soon_and_the_next_in_its_time(
    settings: Settings, store: Counting, rounds: Rounds
) -> None:
    assert rounds._first_s() == FIRST_S
    run(settings, store)
    assert 3590 < rounds._first_s() <= 3600
