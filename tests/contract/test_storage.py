"""One suite over the fake and the real object store: what passes here may be relied on, on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC
from hashlib import md5
from itertools import pairwise
from uuid import uuid4

import pytest

from shared.errors import NotFound, StorageUnavailable
from shared.storage import CHUNK_BYTES, ObjectStore, S3Store
from tests.fakes import MemoryStore

BUCKET = "uploads"

KEYS = [
    "plain.jpg", "with blank.jpg", "a+b.jpg", "100%.jpg", "%2F%20.jpg", "#1.jpg", "q?x=1&y=2.jpg",
    "中文/照片.jpg", "🖼️.jpg", "\u00e9.jpg", "e\u0301.jpg", "quote'\".jpg",
    "semi;colon.jpg", ".versions.jpg", "[1](2){3}.jpg",
    ("é" * 100 + "/") * 4 + "é" * 87,  # with the test's prefix 1,024 bytes, the longest that S3 allows
]  # fmt: skip


@pytest.fixture(params=["memory", "seaweedfs"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    if request.param == "memory":
        return MemoryStore()
    return S3Store(request.getfixturevalue("servers").settings)


@pytest.fixture
def prefix(store: ObjectStore) -> Iterator[str]:
    """A place of this test's own; emptied afterwards."""
    place = f"contract/{uuid4()}/"
    yield place
    for info in store.list(BUCKET, place):
        store.delete(BUCKET, info.key)


def test_what_was_put_is_read_back_with_its_facts(store: ObjectStore, prefix: str) -> None:
    """GET and HEAD agree on size, ETag, type, metadata; times are aware UTC in whole seconds."""
    data = b"photo" * 1000
    put = store.put(BUCKET, f"{prefix}a.jpg", data, "image/jpeg", {"workflow": "fast", "params": '{"scale": 2}'})
    with store.open(BUCKET, f"{prefix}a.jpg") as stream:
        assert b"".join(stream.chunks()) == data
        opened = stream.info
    headed = store.head(BUCKET, f"{prefix}a.jpg")
    for info in (opened, headed):
        assert (info.bucket, info.key, info.bytes) == (BUCKET, f"{prefix}a.jpg", len(data))
        assert info.etag == put.etag == md5(data).hexdigest()
        assert info.content_type == "image/jpeg"
        assert info.metadata == {"workflow": "fast", "params": '{"scale": 2}'}
        assert info.last_modified.tzinfo is not None
        assert info.last_modified.microsecond == 0
        assert info.served_at is not None
        assert abs((info.served_at.astimezone(UTC) - info.last_modified).total_seconds()) < 600
    assert store.read(BUCKET, f"{prefix}a.jpg") == data


def test_metadata_names_are_lower_case(store: ObjectStore, prefix: str) -> None:
    """However a client wrote the header's name."""
    store.put(BUCKET, f"{prefix}a", b"1", "text/plain", {"Workflow": "fast"})
    assert store.head(BUCKET, f"{prefix}a").metadata == {"workflow": "fast"}


def test_a_body_comes_in_pieces(store: ObjectStore, prefix: str) -> None:
    """No piece is larger than 1 MiB, so that nobody holds a whole upload by accident."""
    data = bytes(range(256)) * 10_000
    store.put(BUCKET, f"{prefix}big", data, "image/png")
    with store.open(BUCKET, f"{prefix}big") as stream:
        pieces = list(stream.chunks())
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= CHUNK_BYTES


def test_a_body_may_be_left_unread(store: ObjectStore, prefix: str) -> None:
    """A refused upload is not read to its end, and the next call works."""
    store.put(BUCKET, f"{prefix}big", bytes(3 * CHUNK_BYTES), "image/png")
    with store.open(BUCKET, f"{prefix}big") as stream:
        next(iter(stream.chunks()))
    assert store.head(BUCKET, f"{prefix}big").bytes == 3 * CHUNK_BYTES


def test_an_empty_object_has_no_pieces(store: ObjectStore, prefix: str) -> None:
    """Zero bytes are an object like any other."""
    store.put(BUCKET, f"{prefix}empty", b"", "image/jpeg")
    with store.open(BUCKET, f"{prefix}empty") as stream:
        assert b"".join(stream.chunks()) == b""
    assert store.head(BUCKET, f"{prefix}empty").bytes == 0


@pytest.mark.parametrize("key", KEYS)
def test_every_key_works(store: ObjectStore, prefix: str, key: str) -> None:
    """Whatever the store accepts as a key is written, read, listed, copied and deleted under exactly that key."""
    name = prefix + key
    store.put(BUCKET, name, key.encode(), "image/jpeg", {"user": "u"})
    assert store.read(BUCKET, name) == key.encode()
    assert [info.key for info in store.list(BUCKET, prefix)] == [name]
    store.copy(store.head(BUCKET, name), BUCKET, f"{prefix}copy")
    assert store.read(BUCKET, f"{prefix}copy") == key.encode()
    store.delete(BUCKET, name)
    with pytest.raises(NotFound):
        store.head(BUCKET, name)


def test_a_copy_keeps_type_and_metadata(store: ObjectStore, prefix: str) -> None:
    """Also of an empty object, across buckets."""
    store.put(BUCKET, f"{prefix}a", b"", "image/webp", {"user": "u"})
    store.copy(store.head(BUCKET, f"{prefix}a"), "quarantine", f"{prefix}b")
    copied = store.head("quarantine", f"{prefix}b")
    assert (copied.bytes, copied.content_type, copied.metadata) == (0, "image/webp", {"user": "u"})
    store.delete("quarantine", f"{prefix}b")


@pytest.mark.parametrize("call", ["open", "read", "head", "copy"])
def test_what_is_not_there_is_not_found(store: ObjectStore, prefix: str, call: str) -> None:
    """One error for every way of asking."""
    store.put(BUCKET, f"{prefix}a", b"1", "text/plain")
    gone = store.head(BUCKET, f"{prefix}a")
    store.delete(BUCKET, f"{prefix}a")
    calls: dict[str, Callable[[], object]] = {
        "open": lambda: store.open(BUCKET, gone.key).__enter__(),
        "read": lambda: store.read(BUCKET, gone.key),
        "head": lambda: store.head(BUCKET, gone.key),
        "copy": lambda: store.copy(gone, BUCKET, f"{prefix}b"),
    }
    with pytest.raises(NotFound):
        calls[call]()


def test_a_missing_bucket_is_a_fault_of_the_surroundings(store: ObjectStore) -> None:
    """A wrong bucket name must never look like a deleted photo."""
    missing = f"missing-{uuid4()}"
    with pytest.raises(StorageUnavailable, match=missing):
        store.read(missing, "a")


def test_deleting_twice_is_no_error(store: ObjectStore, prefix: str) -> None:
    """Deleting what is not there changes nothing."""
    store.delete(BUCKET, f"{prefix}never")


def test_only_the_first_of_many_writers_wins(store: ObjectStore, prefix: str) -> None:
    """`put_new` is the lock of the whole system: exactly one True, and its bytes stay."""
    with ThreadPoolExecutor(8) as pool:
        for round_ in range(5):
            key = f"{prefix}{round_}"
            won = list(pool.map(lambda n, key=key: store.put_new(BUCKET, key, b"%d" % n, "text/plain"), range(8)))
            assert won.count(True) == 1
            assert store.read(BUCKET, key) == b"%d" % won.index(True)


def test_put_overwrites(store: ObjectStore, prefix: str) -> None:
    """The last writer's bytes and metadata are what is there."""
    store.put(BUCKET, f"{prefix}a", b"1", "text/plain", {"user": "u"})
    store.put(BUCKET, f"{prefix}a", b"22", "text/html")
    info = store.head(BUCKET, f"{prefix}a")
    assert (info.bytes, info.content_type, info.metadata) == (2, "text/html", {})


def test_a_listing_is_in_key_order_and_starts_where_asked(store: ObjectStore, prefix: str) -> None:
    """The sweep resumes by `start_after`; order is that of the keys' UTF-8 bytes."""
    names = [f"{prefix}{name}" for name in ("a", "a/b", "a0", "b", "é", "中", "🖼")]
    for name in names:
        store.put(BUCKET, name, b"123", "text/plain")
    listed = list(store.list(BUCKET, prefix))
    assert [info.key for info in listed] == names
    assert all(x.key.encode() < y.key.encode() for x, y in pairwise(listed))
    assert {info.bytes for info in listed} == {3}
    assert {info.etag for info in listed} == {md5(b"123").hexdigest()}
    assert [info.key for info in store.list(BUCKET, prefix, start_after=names[3])] == names[4:]
    assert list(store.list(BUCKET, f"{prefix}none/")) == []


def test_a_listing_tells_the_stores_time(store: ObjectStore, prefix: str) -> None:
    """Ages are reckoned by the store's clock alone, also for objects that are only listed."""
    store.put(BUCKET, f"{prefix}a", b"1", "text/plain")
    (listed,) = store.list(BUCKET, prefix)
    assert listed.served_at is not None
    assert listed.last_modified == store.head(BUCKET, f"{prefix}a").last_modified
    assert 0 <= (listed.served_at - listed.last_modified).total_seconds() < 600


@pytest.fixture
def versioned(store: ObjectStore) -> Iterator[str]:
    """A bucket that keeps versions, emptied afterwards."""
    if isinstance(store, MemoryStore):
        store.keep_versions("versioned")
        yield "versioned"
        return
    assert isinstance(store, S3Store)
    name = f"versioned-{uuid4()}"
    store.client.create_bucket(Bucket=name)
    store.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    yield name
    listed = store.client.list_object_versions(Bucket=name)
    for entry in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]:
        store.client.delete_object(Bucket=name, Key=entry["Key"], VersionId=entry["VersionId"])
    store.client.delete_bucket(Bucket=name)


def test_a_listing_of_versions_says_what_a_reader_gets(store: ObjectStore, versioned: str) -> None:
    """The current version of each key, the one that HEAD names; deleted keys are not there."""
    for key, data in [("a", b"1"), ("a", b"22"), ("b", b"1"), ("gone", b"1")]:
        store.put(versioned, key, data, "text/plain")
    store.delete(versioned, "gone")
    listed = list(store.list_versions(versioned))
    assert [info.key for info in listed] == ["a", "b"]
    for info in listed:
        now = store.head(versioned, info.key)
        assert (info.version, info.etag, info.bytes) == (now.version, now.etag, now.bytes)
        assert info.version


def test_a_version_that_is_named_is_deleted_for_good(store: ObjectStore, versioned: str) -> None:
    """The others stay, and the key shows the latest of them."""
    for data in (b"1", b"2"):
        store.put(versioned, "a", data, "text/plain")
    latest = store.head(versioned, "a")
    store.delete(versioned, "a", latest.version)
    assert store.read(versioned, "a") == b"1"
    with pytest.raises(NotFound):
        store.head(versioned, "a", latest.version)


def test_without_versions_both_listings_agree(store: ObjectStore, prefix: str) -> None:
    store.put(BUCKET, f"{prefix}a", b"1", "text/plain")
    with_versions = [info for info in store.list_versions(BUCKET) if info.key.startswith(prefix)]
    assert [replace(info, served_at=None) for info in store.list(BUCKET, prefix)] == [
        replace(info, served_at=None) for info in with_versions
    ]
