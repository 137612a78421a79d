"""One suite over the fake and the real object store: what passes here may be relied on,
on both.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC
from hashlib import md5
from itertools import islice, pairwise
from tempfile import TemporaryFile
from uuid import uuid4

import pytest

from shared.errors import NotFound, PermanentError, StorageUnavailable
from shared.s3.store import CHUNK_BYTES, ObjectStore
from tests.contract.conftest import BUCKET
from tests.support.stores import put_in_parts

KEYS = [
    "plain.jpg",
    "with blank.jpg",
    "a+b.jpg",
    "100%.jpg",
    "%2F%20.jpg",
    "#1.jpg",
    "q?x=1&y=2.jpg",
    "中文/照片.jpg",
    "🖼️.jpg",
    "\u00e9.jpg",
    "e\u0301.jpg",
    "quote'\".jpg",
    "semi;colon.jpg",
    ".versions.jpg",
    "[1](2){3}.jpg",
    # with the test's prefix 1,024 bytes, the longest that S3 allows
    ("é" * 100 + "/") * 4 + "é" * 87,
]


def test_what_was_put_is_read_back_with_its_facts(
    store: ObjectStore, prefix: str
) -> None:
    """GET and HEAD agree on size, ETag, type, metadata; times are aware UTC in whole
    seconds.
    """
    data = b"photo" * 1000
    put = store.put(
        BUCKET,
        f"{prefix}a.jpg",
        data,
        "image/jpeg",
        {"workflow": "fast", "params": '{"scale": 2}'},
    )
    with store.open(BUCKET, f"{prefix}a.jpg") as stream:
        assert b"".join(stream.chunks()) == data
        opened = stream.info
    headed = store.head(BUCKET, f"{prefix}a.jpg")
    for info in (opened, headed):
        assert (info.bucket, info.key, info.bytes) == (
            BUCKET,
            f"{prefix}a.jpg",
            len(data),
        )
        assert info.etag == put.etag == md5(data).hexdigest()
        assert info.content_type == "image/jpeg"
        assert info.metadata == {"workflow": "fast", "params": '{"scale": 2}'}
        assert info.last_modified.tzinfo is not None
        assert info.last_modified.microsecond == 0
        assert info.served_at is not None
        assert (
            abs((info.served_at.astimezone(UTC) - info.last_modified).total_seconds())
            < 600
        )
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
    """Whatever the store accepts as a key is written, read, listed, copied and deleted
    under exactly that key.
    """
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
    assert (copied.bytes, copied.content_type, copied.metadata) == (
        0,
        "image/webp",
        {"user": "u"},
    )
    store.delete("quarantine", f"{prefix}b")


def test_a_copy_of_what_was_written_over_is_refused(
    store: ObjectStore, prefix: str
) -> None:
    """Who names the ETag never gets other bytes."""
    store.put(BUCKET, f"{prefix}a", b"1", "text/plain")
    before = store.head(BUCKET, f"{prefix}a")
    store.copy(before, BUCKET, f"{prefix}b", if_match=before.etag)
    store.put(BUCKET, f"{prefix}a", b"22", "text/plain")
    with pytest.raises(NotFound):
        store.copy(before, BUCKET, f"{prefix}c", if_match=before.etag)
    assert [info.key for info in store.list(BUCKET, prefix)] == [
        f"{prefix}a",
        f"{prefix}b",
    ]
    assert store.read(BUCKET, f"{prefix}b") == b"1"


def test_what_came_in_parts_has_an_etag_that_is_no_checksum(
    store: ObjectStore, prefix: str
) -> None:
    """It is made of the parts' own and ends in their number; a copy in one piece has
    another.
    """
    parts = [b"p" * (5 << 20), b"end"]
    put_in_parts(store, BUCKET, f"{prefix}a.png", parts)
    info = store.head(BUCKET, f"{prefix}a.png")
    assert (
        info.etag
        == f"{md5(b''.join(md5(part).digest() for part in parts)).hexdigest()}-2"
    )
    assert (info.bytes, info.content_type, info.metadata) == (
        (5 << 20) + 3,
        "image/png",
        {"user": "u"},
    )
    assert [listed.etag for listed in store.list(BUCKET, prefix)] == [info.etag]
    assert store.read(BUCKET, f"{prefix}a.png") == b"".join(parts)


def test_a_file_is_sent_from_its_beginning(store: ObjectStore, prefix: str) -> None:
    """Wherever it stood, by both ways of writing."""
    with TemporaryFile() as file:
        file.write(b"photo")
        store.put(BUCKET, f"{prefix}a", file, "text/plain")
        assert store.put_new(BUCKET, f"{prefix}b", file, "text/plain")
    assert (
        store.read(BUCKET, f"{prefix}a") == store.read(BUCKET, f"{prefix}b") == b"photo"
    )


def test_a_key_that_is_too_long_is_refused_for_good(
    store: ObjectStore, prefix: str
) -> None:
    with pytest.raises(PermanentError):
        store.put(BUCKET, prefix + "x" * 1024, b"1", "text/plain")


@pytest.mark.parametrize("key", ["", "\ud800.jpg"])
def test_a_key_that_no_request_can_carry_is_refused_for_good(
    store: ObjectStore, key: str
) -> None:
    """Nobody waits for a store that would never be asked."""
    calls: list[Callable[[], object]] = [
        lambda: store.read(BUCKET, key),
        lambda: store.head(BUCKET, key),
        lambda: store.put(BUCKET, key, b"1", "text/plain"),
        lambda: store.delete(BUCKET, key),
    ]
    for call in calls:
        with pytest.raises(PermanentError):
            call()


@pytest.mark.parametrize("value", ["é", "two\nlines", "\ud800"])
def test_metadata_that_no_header_can_carry_is_refused_for_good(
    store: ObjectStore, prefix: str, value: str
) -> None:
    with pytest.raises(PermanentError):
        store.put(BUCKET, f"{prefix}a", b"1", "text/plain", {"user": value})


def test_a_listing_of_several_pages_is_one(store: ObjectStore, prefix: str) -> None:
    """S3 gives a thousand keys at a time; where the second page begins is no concern of
    a reader's.
    """
    names = [f"{prefix}{number:04}" for number in range(1003)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: store.put(BUCKET, name, b"1", "text/plain"), names))
    assert [info.key for info in store.list(BUCKET, prefix)] == names
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: store.delete(BUCKET, name), names))
    assert list(store.list(BUCKET, prefix)) == []


@pytest.mark.parametrize("call", ["open", "read", "head", "copy"])
def test_what_is_not_there_is_not_found(
    store: ObjectStore, prefix: str, call: str
) -> None:
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
            won = list(
                pool.map(
                    lambda n, key=key: store.put_new(
                        BUCKET, key, b"%d" % n, "text/plain"
                    ),
                    range(8),
                )
            )
            assert won.count(True) == 1
            assert store.read(BUCKET, key) == b"%d" % won.index(True)


def test_put_overwrites(store: ObjectStore, prefix: str) -> None:
    """The last writer's bytes and metadata are what is there."""
    store.put(BUCKET, f"{prefix}a", b"1", "text/plain", {"user": "u"})
    store.put(BUCKET, f"{prefix}a", b"22", "text/html")
    info = store.head(BUCKET, f"{prefix}a")
    assert (info.bytes, info.content_type, info.metadata) == (2, "text/html", {})


@pytest.mark.parametrize("store", ["memory", "seaweedfs"], indirect=True)
def test_a_listing_goes_on_behind_every_key(
    store: ObjectStore, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also behind one that no XML may hold: nothing is left out, and nothing comes
    again and again.

    Ceph 16 answers 500 where it would have to name such a key.
    """
    monkeypatch.setattr("shared.s3.listing.PAGE", 1)
    names = [
        "a",
        "m\x01a",
        "m\x01b",
        "mm",
        "n/\x1f",
        "n/b",
        "n/\uffff1",
        "n/\uffff2",
        "n/\uffff3",
        "z",
    ]
    for name in names:
        store.put(BUCKET, prefix + name, b"1", "image/png")
    listed = islice(store.list(BUCKET, prefix), 2 * len(names))
    assert sorted(info.key.removeprefix(prefix) for info in listed) == sorted(names)


def test_a_listing_is_in_key_order_and_starts_where_asked(
    store: ObjectStore, prefix: str
) -> None:
    """The sweep resumes by `start_after`; order is that of the keys' UTF-8 bytes."""
    names = [f"{prefix}{name}" for name in ("a", "a/b", "a0", "b", "é", "中", "🖼")]
    for name in names:
        store.put(BUCKET, name, b"123", "text/plain")
    listed = list(store.list(BUCKET, prefix))
    assert [info.key for info in listed] == names
    assert all(x.key.encode() < y.key.encode() for x, y in pairwise(listed))
    assert {info.bytes for info in listed} == {3}
    assert {info.etag for info in listed} == {md5(b"123").hexdigest()}
    assert [
        info.key for info in store.list(BUCKET, prefix, start_after=names[3])
    ] == names[4:]
    assert list(store.list(BUCKET, f"{prefix}none/")) == []


def test_a_listing_tells_the_stores_time(store: ObjectStore, prefix: str) -> None:
    """Ages are reckoned by the store's clock alone, also for objects that are only
    listed.
    """
    store.put(BUCKET, f"{prefix}a", b"1", "text/plain")
    (listed,) = store.list(BUCKET, prefix)
    assert listed.served_at is not None
    assert listed.last_modified == store.head(BUCKET, f"{prefix}a").last_modified
    assert 0 <= (listed.served_at - listed.last_modified).total_seconds() < 600


def test_without_versions_both_listings_agree(store: ObjectStore, prefix: str) -> None:
    store.put(BUCKET, f"{prefix}a", b"1", "text/plain")
    with_versions = [
        info for info in store.list_versions(BUCKET) if info.key.startswith(prefix)
    ]
    assert [replace(info, served_at=None) for info in store.list(BUCKET, prefix)] == [
        replace(info, served_at=None) for info in with_versions
    ]
