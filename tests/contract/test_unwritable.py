"""One key that a real store does not write or delete, and a store that takes nothing:
which of the two it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from infra.local.stack import Stack
from shared.errors import (
    NotFound,
    ObjectRefused,
    ObjectUnreadable,
    ObjectUnwritable,
    StorageUnavailable,
)
from shared.s3 import http
from shared.s3.store import PROBE, S3Store
from shared.uploads import keys
from tests.contract.test_unreadable import bucket, proxy, store  # noqa: F401
from tests.support.admin import as_admin
from tests.support.fault_proxy import Fault, FaultProxy

FAULTS = {
    "a policy": Fault(403, "AccessDenied"),
    "a broken server of the key": Fault(500, "InternalError"),
    "a busy one": Fault(503, "SlowDown"),
    "silence": Fault(200, hangs=True),
}
CALLS = ["put", "put_new", "delete"]


def call(store: S3Store, bucket: str, name: str, key: str = "bad") -> Callable[[], Any]:
    calls: dict[str, Callable[[], Any]] = {
        "put": lambda: store.put(bucket, key, b"1", "text/plain"),
        "put_new": lambda: store.put_new(bucket, key, b"1", "text/plain"),
        "delete": lambda: store.delete(bucket, key),
    }
    return calls[name]


def spoil(proxy: FaultProxy, place: str, fault: Fault) -> None:
    proxy.faults[place] = Fault(
        fault.status, fault.code, ("PUT", "DELETE"), fault.hangs
    )


@pytest.fixture(autouse=True)
def _short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_S", 2.0)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize("name", CALLS)
def test_one_key_is_told_from_the_store(
    store: S3Store, proxy: FaultProxy, bucket: str, fault: Fault, name: str
) -> None:
    """The probe leaves nothing behind, and the key is written once it is not refused
    any more.
    """
    spoil(proxy, f"{bucket}/bad", fault)
    with pytest.raises(ObjectUnwritable):
        call(store, bucket, name)()
    if fault.hangs:
        assert (
            sum(
                times
                for (_, place), times in proxy.asked.items()
                if place == f"{bucket}/bad"
            )
            == 1
        )
    assert [info.key for info in store.list(bucket)] == ["good"]
    proxy.faults.clear()
    call(store, bucket, name)()


@pytest.mark.parametrize(
    ("fault", "name"),
    list(zip(FAULTS.values(), [*CALLS, "put"], strict=True)),
    ids=FAULTS.keys(),
)
def test_a_store_that_takes_nothing_is_away(
    store: S3Store, proxy: FaultProxy, bucket: str, fault: Fault, name: str
) -> None:
    """Full, or closed to whoever asks: no photo is to blame for that."""
    for key in ("bad", PROBE):
        spoil(proxy, f"{bucket}/{key}", fault)
    with pytest.raises(StorageUnavailable) as raised:
        call(store, bucket, name)()
    assert not isinstance(raised.value, ObjectRefused)


def test_a_store_that_has_room_for_a_little_is_full(
    store: S3Store, proxy: FaultProxy, bucket: str
) -> None:
    """As much is tried as was refused: a small file proves nothing for a large one."""
    proxy.most_bytes = 1 << 20
    store.put(bucket, "little", b"1", "text/plain")
    with pytest.raises(StorageUnavailable) as raised:
        store.put(bucket, "much", bytes(2 << 20), "image/png")
    assert not isinstance(raised.value, ObjectRefused)


def test_a_copy_into_a_full_store_is_no_fault_of_its_source(
    store: S3Store, proxy: FaultProxy, bucket: str
) -> None:
    info = store.put(bucket, "bad", b"bad", "text/plain")
    proxy.faults[f"{bucket}/bad"] = Fault(500, "InternalError", ("COPY",))
    with pytest.raises(ObjectUnreadable):
        store.copy(info, bucket, "copied")
    proxy.most_bytes = 0
    with pytest.raises(StorageUnavailable) as raised:
        store.copy(info, bucket, "copied")
    assert not isinstance(raised.value, ObjectRefused)


def test_nothing_of_ours_is_put_among_the_uploads(
    servers: Stack, store: S3Store, proxy: FaultProxy
) -> None:
    """It would be an upload."""
    uploads = servers.settings.bucket_uploads
    spoil(proxy, f"{uploads}/bad", FAULTS["a policy"])
    with pytest.raises(StorageUnavailable) as raised:
        store.put(uploads, "bad", b"1", "text/plain")
    assert not isinstance(raised.value, ObjectRefused)
    assert [place for method, place in proxy.asked if method == "PUT"] == [
        f"{uploads}/bad"
    ]
    with pytest.raises(ObjectUnwritable):
        store.delete(uploads, "bad")


def test_among_results_the_probe_lies_in_the_folder_of_the_key(
    servers: Stack, proxy: FaultProxy, store: S3Store
) -> None:
    """Rights end there."""
    results, key = as_admin(servers.settings).bucket_results, keys.claim("task", 1)
    spoil(proxy, f"{results}/{key}", FAULTS["a policy"])
    with pytest.raises(ObjectUnwritable):
        store.put_new(results, key, b"1", "application/json")
    assert proxy.asked["PUT", f"{results}/claims/.darkroom-probe"] == 1
    with pytest.raises(NotFound):
        store.head(results, "claims/.darkroom-probe")


def test_silence_about_an_object_is_heard_once(
    store: S3Store, proxy: FaultProxy, bucket: str
) -> None:
    info = store.put(bucket, "bad", b"bad", "text/plain")
    proxy.faults[f"{bucket}/bad"] = Fault(200, methods=("GET", "HEAD"), hangs=True)
    for read in (store.read, store.head):
        with pytest.raises(ObjectUnreadable):
            read(bucket, "bad")
    assert (
        proxy.asked["GET", f"{bucket}/bad"],
        proxy.asked["HEAD", f"{bucket}/bad"],
    ) == (1, 1)
    assert store.read(bucket, "good") == b"good"
    assert info.etag
