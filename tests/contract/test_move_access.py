"""API keys and tickets of an earlier release, which lay among the results, go into
their own bucket.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from infra import bootstrap
from infra.local.stack import Stack
from shared.errors import NotFound
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from tests.support.admin import as_admin

OLD = {
    "access/keys/0123456789abcdef.json": "keys/0123456789abcdef.json",
    "tickets/t.json": "tickets/t.json",
}


@pytest.fixture
def settings(servers: Stack) -> Iterator[Settings]:
    """Buckets as an earlier release left them: none for access."""
    mark = uuid4().hex[:8]
    names = {
        f"bucket_{name}": f"{name}-{mark}"
        for name in ("uploads", "results", "quarantine", "archive", "access")
    }
    given = as_admin(servers.settings).model_copy(update=names)
    store = S3Store(given)
    store.make_bucket(given.bucket_results)
    for key in OLD:
        store.put(given.bucket_results, key, key.encode(), "application/json")
    store.put(given.bucket_results, "processed/t.json", b"{}", "application/json")
    yield given
    for name in names.values():
        for info in store.list(name):
            store.delete(name, info.key)
        store.client.delete_bucket(Bucket=name)


def keys(store: S3Store, bucket: str) -> set[str]:
    return {info.key for info in store.list(bucket)}


def test_they_are_moved_once(settings: Settings) -> None:
    """What is written among the results afterwards, by whoever may write results, opens
    nothing.
    """
    bootstrap.bootstrap(settings)
    store = S3Store(settings)
    assert keys(store, settings.bucket_results) == {"processed/t.json"}
    for old, new in OLD.items():
        assert store.read(settings.bucket_access, new) == old.encode()
    store.put(
        settings.bucket_results,
        "access/keys/feedfeedfeedfeed.json",
        b"{}",
        "application/json",
    )
    bootstrap.bootstrap(settings)
    assert "keys/feedfeedfeedfeed.json" not in keys(store, settings.bucket_access)


def test_a_move_that_broke_off_is_finished(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between copy and delete; what was revoked meanwhile stays revoked."""

    def dies(*_: Any) -> None:
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(S3Store, "delete", dies)
        S3Store(settings).make_bucket(settings.bucket_access)
        with pytest.raises(InterruptedError):
            bootstrap._move_access(S3Store(settings), settings)
    store, old = S3Store(settings), next(iter(OLD))
    assert store.read(settings.bucket_results, old) == old.encode()
    store.put(settings.bucket_access, OLD[old], b"revoked", "application/json")
    bootstrap.bootstrap(settings)
    assert store.read(settings.bucket_access, OLD[old]) == b"revoked"
    assert store.read(settings.bucket_access, "tickets/t.json") == b"tickets/t.json"
    for key in OLD:
        with pytest.raises(NotFound):
            store.head(settings.bucket_results, key)
