"""Listings of keys of every kind and of many pages, on the store in memory and on real
ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from shared.errors import StorageUnavailable
from shared.s3 import listing
from shared.s3.store import ObjectStore, S3Store
from tests.support.memory_store import MemoryStore
from tests.support.stores import drop_bucket, keep_versions, make_bucket, versions

KEYS = [
    "&<>\"'.jpg",
    "&amp;.jpg",
    "&#65;.jpg",
    "</Key>",
    "<Key>x</Key>.jpg",
    "]]>",
    "<!DOCTYPE a>",
    "a b.jpg",
    "a+b.jpg",
    "100%.jpg",
    "%2F.jpg",
    "%20",
    "🖼️.jpg",
    "中文/照片.jpg",
    "e\u0301.jpg",
    "\u0085\u2028.jpg",
    "\x01\x1f\x7f.jpg",
    "a\tb\r\nc.jpg",
    "folder/",
    "~",
    "x" * 255,
    ("🖼" * 50 + "/") * 5 + "é" * 9 + "x",
]
DOUBLE = "a//b.jpg"
"""SeaweedFS keeps it as `a/b.jpg`."""


@pytest.fixture
def bucket(store: ObjectStore) -> Iterator[str]:
    name = make_bucket(store)
    yield name
    # SeaweedFS's listing of versions does not know every key
    for info in store.list(name):
        store.delete(name, info.key)
    drop_bucket(store, name)


@pytest.fixture(params=[3, 1000])
def of_size(
    store: ObjectStore, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many objects in a page."""
    monkeypatch.setattr(listing, "PAGE", request.param)
    if isinstance(store, MemoryStore):
        store.page = request.param


@pytest.mark.usefixtures("of_size")
def test_every_key_is_listed_as_it_was_put(store: ObjectStore, bucket: str) -> None:
    """With the facts that HEAD tells, and as the SDK lists it; found again by a prefix
    of any kind.
    """
    assert max(len(key.encode()) for key in KEYS) == 1024
    for key in (*KEYS, DOUBLE):
        store.put(bucket, key, key.encode(), "text/plain")
    listed = {info.key: info for info in store.list(bucket)}
    assert listed.keys() - {DOUBLE, "a/b.jpg"} == set(KEYS)
    assert len(listed) == len(KEYS) + 1
    for info in listed.values():
        known = store.head(bucket, info.key)
        facts = (info.etag, info.bytes, info.last_modified, info.version)
        assert facts == (known.etag, known.bytes, known.last_modified, known.version), (
            info.key
        )
    for key in KEYS:
        assert key in [info.key for info in store.list(bucket, key)]
    if isinstance(store, S3Store):
        pages = store.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        theirs = [
            (entry["Key"], entry["ETag"].strip('"'), entry["Size"])
            for page in pages
            for entry in page["Contents"]
        ]
        assert [(info.key, info.etag, info.bytes) for info in listed.values()] == theirs


@pytest.mark.usefixtures("of_size")
def test_a_listing_begins_after_any_key(store: ObjectStore, bucket: str) -> None:
    """Whether it is there or not, and wherever a page ends."""
    names = [f"{letter} +%&{letter}" for letter in "abcdefg"]
    for name in names:
        store.put(bucket, name, b"1", "text/plain")
    for number, name in enumerate(names):
        assert [info.key for info in store.list(bucket, start_after=name)] == names[
            number + 1 :
        ]
        assert [
            info.key for info in store.list(bucket, start_after=f"{name}!")
        ] == names[number + 1 :]
        assert [info.key for info in store.list_versions(bucket, name)] == names[
            number + 1 :
        ]


@pytest.mark.usefixtures("of_size")
def test_a_listing_begins_at_a_folder(store: ObjectStore, bucket: str) -> None:
    """Its name with the slash is before everything in it, as the backup reads."""
    before = ["copies/1", "masks/1"]
    inside = [f"processed/{number}" for number in range(5)]
    after = ["receipts/1"]
    for name in (*before, *inside, *after):
        store.put(bucket, name, b"1", "text/plain")
    listed = store.list(bucket, start_after="processed/")
    assert [info.key for info in listed] == [*inside, *after]


@pytest.mark.usefixtures("of_size")
def test_versions_are_listed_over_many_pages(store: ObjectStore, bucket: str) -> None:
    """Some pages may hold delete markers alone; each thing that is kept comes once."""
    keep_versions(store, bucket)
    for name in ("a &", "b+", "c%2F", "d", "e"):
        for data in (b"1", b"22"):
            store.put(bucket, name, data, "text/plain")
    for name in ("b+", "c%2F", "d"):
        store.delete(bucket, name)
    assert [(info.key, info.bytes) for info in store.list_versions(bucket)] == [
        ("a &", 2),
        ("e", 2),
    ]
    kept = sorted(
        (info.key, info.version, info.is_marker)
        for info in store.every_version(bucket, "")
    )
    assert kept == sorted(versions(store, bucket))
    assert len(kept) == 13
    assert {info.key for info in store.every_version(bucket, "c%")} == {"c%2F"}


def test_nothing_is_an_empty_listing(store: ObjectStore, bucket: str) -> None:
    for listed in (
        store.list(bucket),
        store.list(bucket, "none/"),
        store.list_versions(bucket),
    ):
        assert list(listed) == []
    keep_versions(store, bucket)
    assert (
        list(store.list_versions(bucket)) == list(store.every_version(bucket, "")) == []
    )


def test_no_bucket_is_no_empty_listing(store: ObjectStore) -> None:
    """A wrong name must never look like photos that are gone."""
    missing = f"missing-{uuid4()}"
    for listed in (
        store.list(missing),
        store.list_versions(missing),
        store.every_version(missing, ""),
    ):
        with pytest.raises(StorageUnavailable, match=missing):
            list(listed)
