"""What leaves a backup, and what must not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from infra.backup import manifest
from infra.backup import run as running
from infra.backup.index import held
from infra.backup.prune import prune
from infra.backup.run import back_up
from infra.backup.vault import BLOBS, BucketVault, FolderVault, Vault
from infra.backup.verify import verified
from shared.errors import NotFound, PermanentError, StorageUnavailable
from shared.runtime.settings import Settings
from tests.support.memory_store import MemoryStore

BUCKETS = ("uploads", "results", "quarantine", "archive", "access")
ERASED = b"the photo that was erased"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        state_dir=tmp_path / "state",
        models_dir=tmp_path / "models",
        pepper=SecretStr("chilli"),
    )


@pytest.fixture
def store() -> MemoryStore:
    found = MemoryStore(buckets=BUCKETS)
    found.put("uploads", "kept.png", b"the photo that stays", "image/png")
    found.put("uploads", "erased.png", ERASED, "image/png")
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[timedelta]:
    """Runs begin so long ago as its last entry says."""
    ago = [timedelta()]

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) - ago[-1]

    monkeypatch.setattr(running, "datetime", Earlier)
    return ago


@pytest.fixture
def vault(
    settings: Settings, store: MemoryStore, clock: list[timedelta]
) -> FolderVault:
    """Full runs 40, 20 and 10 days ago; the photo was erased between the last two."""
    for days in (40, 20):
        clock.append(timedelta(days=days))
        back_up(settings, True, store)
    store.delete("uploads", "erased.png")
    clock.append(timedelta(days=10))
    back_up(settings, True, store)
    return FolderVault(Path(running.vault_of(settings).place))


def _contents(vault: Vault) -> list[bytes]:
    return [b"".join(vault.chunks(name)) for name in vault.names(BLOBS)]


def test_an_erased_photo_leaves_with_the_last_run_that_names_it(
    settings: Settings, vault: FolderVault
) -> None:
    report = prune(settings, vault, 15)
    assert report.runs == 1
    assert report.oldest == manifest.runs(vault)[0].name
    assert ERASED in _contents(vault)
    report = prune(settings, vault, 5)
    assert (report.runs, report.findings) == (1, [])
    assert ERASED not in _contents(vault)
    assert verified(vault).findings == []


def test_every_state_of_the_days_that_are_kept_can_be_restored(
    settings: Settings, vault: FolderVault
) -> None:
    prune(settings, vault, 15)
    until = (datetime.now(UTC) - timedelta(days=15)).strftime(manifest.STAMP)
    assert held(vault, until).count()[0] == 2
    with pytest.raises(NotFound):
        held(vault, (datetime.now(UTC) - timedelta(days=30)).strftime(manifest.STAMP))


def test_a_dry_run_says_the_same_and_deletes_nothing(
    settings: Settings, vault: FolderVault
) -> None:
    before = sorted(vault.names(""))
    told = prune(settings, vault, 5, dry_run=True)
    assert sorted(vault.names("")) == before
    done = prune(settings, vault, 5)
    assert (told.runs, told.blobs) == (done.runs, done.blobs)


def test_what_follows_a_full_run_stays_with_it(
    settings: Settings,
    vault: FolderVault,
    store: MemoryStore,
    clock: list[timedelta],
) -> None:
    clock.append(timedelta(days=9.5))
    store.put("uploads", "new.png", b"new", "image/png")
    back_up(settings, False, store)
    assert prune(settings, vault, 0).runs == 2
    assert held(vault).count()[0] == 2
    assert verified(vault).findings == []


def test_an_interrupted_run_finds_what_it_sent(
    settings: Settings, vault: FolderVault, store: MemoryStore, clock: list[timedelta]
) -> None:
    """Its blobs stand in no manifest yet, and it does not send them again."""
    clock.append(timedelta())
    store.put("uploads", "new.png", b"sent before the end", "image/png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "write", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            back_up(settings, False, store)
    prune(settings, vault, 0)
    assert b"sent before the end" in _contents(vault)
    back_up(settings, False, store)
    assert verified(vault).findings == []


def test_what_was_interrupted_is_gone_on_with(
    settings: Settings, vault: FolderVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = vault.delete

    def dies_at_a_blob(name: str) -> None:
        if name.startswith(BLOBS):
            raise KeyboardInterrupt
        usual(name)

    with monkeypatch.context() as patch:
        patch.setattr(vault, "delete", dies_at_a_blob)
        with pytest.raises(KeyboardInterrupt):
            prune(settings, vault, 0)
    assert verified(vault).findings == []
    prune(settings, vault, 0)
    assert ERASED not in _contents(vault)


def test_an_altered_manifest_that_stays_leaves_everything(
    settings: Settings, vault: FolderVault
) -> None:
    last = Path(vault.place) / manifest.runs(vault)[-1].name
    last.write_bytes(last.read_bytes()[:-20])
    before = sorted(vault.names(""))
    with pytest.raises(PermanentError, match="altered or cut off"):
        prune(settings, vault, 15)
    assert sorted(vault.names("")) == before


def test_an_account_that_may_only_add_is_named(
    settings: Settings, vault: FolderVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(name: str) -> None:
        raise StorageUnavailable(f"{name}: AccessDenied")

    monkeypatch.setattr(vault, "delete", refuses)
    report = prune(settings, vault, 5)
    assert (report.runs, report.blobs) == (0, 0)
    assert "could not be deleted" in report.findings[0]


def test_nothing_is_pruned_of_a_vault_without_a_backup(
    settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(NotFound, match="holds no backup"):
        prune(settings, FolderVault(tmp_path / "empty"), 0)


def test_every_version_of_an_entry_goes() -> None:
    store = MemoryStore(buckets=("vault",), versioned=("vault",))
    vault = BucketVault(store, "vault", "main")  # type: ignore[arg-type]
    for data in (b"first", b"second"):
        store.put("vault", "main/blobs/ab/abc", data, "image/png")
    store.put("vault", "main/blobs/ab/abcd", b"another", "image/png")
    vault.delete("blobs/ab/abc")
    left = store.every_version("vault", "main/")
    assert [info.key for info in left] == ["main/blobs/ab/abcd"]


def _interrupted(*_args: Any) -> str:
    raise KeyboardInterrupt
