"""One object that a real store does not give, and a store that gives nothing: which of
the two it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from handlers.context import Context
from handlers.intake.decision import Decision
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from infra.local.stack import Stack
from shared.errors import (
    Code,
    NotFound,
    ObjectUnreadable,
    PermanentError,
    StorageUnavailable,
)
from shared.runtime.retry import RetryPolicy
from shared.runtime.settings import Settings
from shared.s3 import http
from shared.s3.store import S3Store
from shared.uploads import keys
from tests.support.admin import as_admin
from tests.support.client import photo
from tests.support.databases import corner
from tests.support.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.support.stores import drop_bucket, make_bucket
from tests.support.waiting import eventually

BIG = bytes(6 << 20)
ARCHIVED = Fault(403, "InvalidObjectState", ("GET", "COPY"))
FAULTS = {
    "a policy": Fault(403, "AccessDenied"),
    "a refusal without a word": Fault(403),
    "a lost key": Fault(400, "KMS.DisabledException"),
    "a key that its client keeps": Fault(400, "InvalidRequest"),
    "a damaged chunk": Fault(500, "InternalError"),
}


@pytest.fixture
def proxy(servers: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    monkeypatch.setattr(
        http, "RETRY", RetryPolicy(base_s=0.001, cap_s=0.001, max_attempts=3)
    )
    with fault_proxy(s3_port(servers.settings)) as running:
        yield running


@pytest.fixture
def store(servers: Stack, proxy: FaultProxy) -> S3Store:
    return S3Store(
        as_admin(servers.settings).model_copy(
            update={"s3_endpoint_url": f"http://127.0.0.1:{proxy.port}"}
        )
    )


@pytest.fixture
def bucket(servers: Stack) -> Iterator[str]:
    """With one object that is well."""
    store = S3Store(as_admin(servers.settings))
    name = make_bucket(store)
    store.put(name, "good", b"good", "text/plain")
    yield name
    drop_bucket(store, name)


def s3_port(settings: Settings) -> int:
    return int(settings.s3_endpoint_url.rpartition(":")[2])


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize("call", ["read", "head", "open", "copy"])
def test_one_object_is_told_from_the_store(
    store: S3Store, proxy: FaultProxy, bucket: str, fault: Fault, call: str
) -> None:
    """Whatever the word for it is: others are given at the same moment."""
    info = store.put(bucket, "bad", b"bad", "text/plain")
    proxy.faults[f"{bucket}/bad"] = Fault(
        fault.status, fault.code, ("GET", "HEAD", "COPY")
    )
    calls: dict[str, Callable[[], object]] = {
        "read": lambda: store.read(bucket, "bad"),
        "head": lambda: store.head(bucket, "bad"),
        "open": lambda: store.open(bucket, "bad").__enter__(),
        "copy": lambda: store.copy(info, bucket, "copied"),
    }
    with pytest.raises(ObjectUnreadable) as raised:
        calls[call]()
    assert raised.value.code == Code.SOURCE_UNREADABLE
    assert store.read(bucket, "good") == b"good"


def test_an_archived_object(store: S3Store, proxy: FaultProxy, bucket: str) -> None:
    """The word names it, also where all others are archived, too; its head can be had."""
    info = store.put(bucket, "bad", b"bad", "text/plain")
    for key in ("good", "bad"):
        proxy.faults[f"{bucket}/{key}"] = ARCHIVED
    with pytest.raises(ObjectUnreadable):
        store.read(bucket, "bad")
    with pytest.raises(ObjectUnreadable):
        store.copy(info, bucket, "copied")
    assert store.head(bucket, "bad").bytes == 3


def test_a_body_that_breaks_off(store: S3Store, proxy: FaultProxy, bucket: str) -> None:
    info = store.put(bucket, "bad", BIG, "text/plain")
    proxy.faults[f"{bucket}/bad"] = Fault(200)
    with pytest.raises(ObjectUnreadable):
        store.read(bucket, "bad")
    with pytest.raises(ObjectUnreadable):
        store.read_same(store.head(bucket, "bad"))
    proxy.faults.clear()
    assert store.read_same(store.head(bucket, "bad")) == BIG
    assert info.etag == store.head(bucket, "bad").etag


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_store_that_gives_nothing_is_away(
    store: S3Store, proxy: FaultProxy, bucket: str, fault: Fault
) -> None:
    """As with rights to list and none to read: no photo is to blame for that."""
    store.put(bucket, "bad", b"bad", "text/plain")
    for key in ("good", "bad"):
        proxy.faults[f"{bucket}/{key}"] = fault
    with pytest.raises(StorageUnavailable) as raised:
        store.read(bucket, "bad")
    assert raised.value.code == Code.STORAGE_UNAVAILABLE


def test_a_wrong_access_key_is_no_fault_of_an_object(
    servers: Stack, bucket: str
) -> None:
    wrong = S3Store(
        servers.settings.model_copy(
            update={"s3_access_key": Settings(s3_access_key="nobody").s3_access_key}
        )
    )
    for call in (wrong.read, wrong.head):
        with pytest.raises(StorageUnavailable) as raised:
            call(bucket, "good")
        assert raised.value.code == Code.STORAGE_UNAVAILABLE


def test_the_only_object(store: S3Store, proxy: FaultProxy, bucket: str) -> None:
    """Refused while the bucket is listed, it is to blame; a server that fails with it
    may fail with everything.
    """
    proxy.faults[f"{bucket}/good"] = Fault(403, "AccessDenied")
    with pytest.raises(ObjectUnreadable):
        store.read(bucket, "good")
    proxy.faults[f"{bucket}/good"] = Fault(500, "InternalError")
    with pytest.raises(StorageUnavailable) as raised:
        store.read(bucket, "good")
    assert raised.value.code == Code.STORAGE_UNAVAILABLE


def test_what_is_known_is_read_or_nothing(
    store: S3Store, proxy: FaultProxy, bucket: str
) -> None:
    """Not a byte is asked of what was put in its place."""
    store.put(bucket, "photo", b"small", "text/plain")
    known = store.head(bucket, "photo")
    assert store.read_same(known) == b"small"
    assert store.read_part(known, 1, 3) == b"mal"
    store.put(bucket, "photo", BIG, "text/plain")
    before = proxy.given[f"{bucket}/photo"]
    with pytest.raises(PermanentError) as raised:
        store.read_same(known)
    assert raised.value.code == Code.SOURCE_CHANGED
    with pytest.raises(PermanentError):
        store.read_part(known, 1, 3)
    assert proxy.given[f"{bucket}/photo"] - before < 4096  # the words of the refusal
    store.delete(bucket, "photo")
    with pytest.raises(NotFound):
        store.read_same(known)
    with pytest.raises(NotFound):
        store.read_part(known, 1, 3)


def test_names_with_blanks_are_witnesses(store: S3Store, proxy: FaultProxy) -> None:
    """The listing has them encoded."""
    name = f"unreadable-{uuid4().hex[:12]}"
    store.make_bucket(name)
    for key in ("a b+ü&.png", "bad"):
        store.put(name, key, b"1", "text/plain")
    proxy.faults[f"{name}/bad"] = Fault(500, "InternalError")
    with pytest.raises(ObjectUnreadable):
        store.read(name, "bad")
    assert proxy.asked["GET", f"{name}/a b+ü&.png"] == 1


def test_the_handler_ends_it_when_it_has_lasted_for_long(
    servers: Stack, proxy: FaultProxy
) -> None:
    """By the store's clock; until then the event must come again, and another upload is
    decided on at once.
    """
    changed = {
        "s3_endpoint_url": f"http://127.0.0.1:{proxy.port}",
        "broker_url": corner(servers.settings),
    }
    limits = {
        "lease_s": 1.0,
        "retry_cap_s": 1.0,
        "pepper": uuid4().hex,
        "default_workflow": "fast",
    }
    ctx = Context.of(
        Settings.model_validate(servers.settings.model_dump() | changed | limits)
    )
    bucket = ctx.settings.bucket_uploads
    bad, good = (f"unreadable/{uuid4()}.png" for _ in range(2))
    put = ctx.store.put(bucket, bad, photo(), "image/png", {"user": "ann"})
    proxy.faults[f"{bucket}/{bad}"] = Fault(403)
    event = UploadEvent(
        bucket, bad, "create", None, put.etag, None, None, put.last_modified
    )
    with pytest.raises(ObjectUnreadable):
        on_upload(event, ctx)
    ctx.store.put(bucket, good, photo(), "image/png", {"user": "bob"})
    assert on_upload(UploadEvent(bucket, good, "create"), ctx).kind == "queued"

    def tried() -> Decision | None:
        try:
            return on_upload(event, ctx)
        except ObjectUnreadable:
            return None

    decision = eventually(tried, "its end")
    assert (decision.kind, decision.code) == ("rejected", Code.SOURCE_UNREADABLE)
    assert decision.upload_id
    kept = [
        info.key
        for info in ctx.store.list(
            ctx.settings.bucket_quarantine, f"{decision.upload_id}/"
        )
    ]
    assert kept == [keys.reason(decision.upload_id)]
