"""Buckets that keep versions, on the store in memory and on real ones: what is hidden,
what stays, what goes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.errors import NotFound
from shared.s3.store import ObjectStore
from tests.support.stores import (
    drop_bucket,
    keep_versions,
    make_bucket,
    suspend_versions,
    versions,
)


@pytest.fixture
def plain(store: ObjectStore) -> Iterator[str]:
    """A bucket without versions."""
    name = make_bucket(store)
    yield name
    drop_bucket(store, name)


@pytest.fixture
def versioned(store: ObjectStore, plain: str) -> str:
    keep_versions(store, plain)
    return plain


def test_a_listing_of_versions_says_what_a_reader_gets(
    store: ObjectStore, versioned: str
) -> None:
    """The current version of each key, the one that HEAD names; deleted keys are not
    there.
    """
    for key, data in [("a", b"1"), ("a", b"22"), ("b", b"1"), ("gone", b"1")]:
        store.put(versioned, key, data, "text/plain")
    store.delete(versioned, "gone")
    listed = list(store.list_versions(versioned))
    assert [info.key for info in listed] == ["a", "b"]
    assert [info.key for info in store.list(versioned)] == ["a", "b"]
    for info in listed:
        now = store.head(versioned, info.key)
        assert (info.version, info.etag, info.bytes) == (
            now.version,
            now.etag,
            now.bytes,
        )
        assert info.version


def test_every_writer_is_told_its_version(store: ObjectStore, versioned: str) -> None:
    put = store.put(versioned, "a", b"1", "text/plain")
    assert put.version
    assert put.version == store.head(versioned, "a").version
    assert store.put(versioned, "a", b"1", "text/plain").version != put.version


def test_a_version_that_is_named_is_deleted_for_good(
    store: ObjectStore, versioned: str
) -> None:
    """The others stay, and the key shows the latest of them."""
    for data in (b"1", b"2"):
        store.put(versioned, "a", data, "text/plain")
    latest = store.head(versioned, "a")
    store.delete(versioned, "a", latest.version)
    assert store.read(versioned, "a") == b"1"
    with pytest.raises(NotFound):
        store.head(versioned, "a", latest.version)
    with pytest.raises(NotFound):
        store.read(versioned, "a", latest.version)
    store.delete(versioned, "a", latest.version)  # again: no error


def test_a_deletion_hides_and_takes_nothing_away(
    store: ObjectStore, versioned: str
) -> None:
    """Whoever names the version still reads it: who erases must name it, too."""
    first = store.put(versioned, "a", b"1", "text/plain", {"user": "u"})
    store.delete(versioned, "a")
    with pytest.raises(NotFound):
        store.head(versioned, "a")
    with pytest.raises(NotFound):
        store.read(versioned, "a")
    with pytest.raises(NotFound):
        store.copy(
            first.__class__(versioned, "a", first.etag, 1, first.last_modified),
            versioned,
            "b",
        )
    assert store.read(versioned, "a", first.version) == b"1"
    assert store.head(versioned, "a", first.version).metadata == {"user": "u"}
    store.copy(first, versioned, "b")
    assert store.read(versioned, "b") == b"1"


def test_a_delete_marker_is_no_object_and_its_deletion_brings_the_object_back(
    store: ObjectStore, versioned: str
) -> None:
    store.put(versioned, "a", b"1", "text/plain")
    store.delete(versioned, "a")
    ((key, marker, _),) = [kept for kept in versions(store, versioned) if kept[2]]
    assert key == "a"
    with pytest.raises(NotFound):
        store.read(versioned, "a", marker)
    with pytest.raises(NotFound):
        store.head(versioned, "a", marker)
    store.delete(versioned, "a", marker)
    assert store.read(versioned, "a") == b"1"
    assert [kept[2] for kept in versions(store, versioned)] == [False]


@pytest.mark.parametrize("store", ["memory", "seaweedfs"], indirect=True)
def test_what_was_deleted_may_be_written_by_the_first_again(
    store: ObjectStore, versioned: str
) -> None:
    """`put_new` asks for what a reader gets now, not for what was. Ceph 16 does so in
    buckets without versions only.
    """
    assert store.put_new(versioned, "a", b"1", "text/plain")
    assert not store.put_new(versioned, "a", b"2", "text/plain")
    store.delete(versioned, "a")
    assert store.put_new(versioned, "a", b"3", "text/plain")
    assert not store.put_new(versioned, "a", b"4", "text/plain")
    assert store.read(versioned, "a") == b"3"
    assert len(versions(store, versioned)) == 3


def test_what_was_there_before_is_the_version_null(
    store: ObjectStore, plain: str
) -> None:
    """It stays readable by that name when it is written over, and goes by that name
    alone.
    """
    store.put(plain, "a", b"before", "text/plain")
    assert store.head(plain, "a").version in (None, "null")
    keep_versions(store, plain)
    assert store.head(plain, "a").version in (None, "null")
    assert [info.version for info in store.list_versions(plain)] == ["null"]
    later = store.put(plain, "a", b"later", "text/plain")
    assert store.read(plain, "a", "null") == b"before"
    store.delete(plain, "a", later.version)
    assert store.read(plain, "a") == b"before"
    store.delete(plain, "a", "null")
    assert versions(store, plain) == []


def test_where_versions_are_suspended_the_version_null_is_written_over(
    store: ObjectStore, versioned: str
) -> None:
    """What was kept before stays; a deletion hides it all the same."""
    first = store.put(versioned, "a", b"1", "text/plain")
    suspend_versions(store, versioned)
    for data in (b"2", b"3"):
        store.put(versioned, "a", data, "text/plain")
    assert store.head(versioned, "a").version in (None, "null")
    assert {version for _, version, _ in versions(store, versioned)} == {
        first.version,
        "null",
    }
    assert store.read(versioned, "a") == b"3"
    assert store.read(versioned, "a", first.version) == b"1"
    store.delete(versioned, "a")
    with pytest.raises(NotFound):
        store.read(versioned, "a")
    assert store.read(versioned, "a", first.version) == b"1"


def test_all_that_is_kept_can_be_found_and_deleted(
    store: ObjectStore, versioned: str
) -> None:
    """Earlier versions, what was there before versions were kept, what is written
    after, and delete markers.
    """
    for key in ("a/1", "a/1", "a/2", "b"):
        store.put(versioned, key, b"1", "text/plain")
    store.delete(versioned, "a/2")
    suspend_versions(store, versioned)
    store.put(versioned, "a/3", b"33", "text/plain")
    kept = list(store.every_version(versioned, "a/"))
    assert sorted((info.key, info.is_marker) for info in kept) == [
        ("a/1", False),
        ("a/1", False),
        ("a/2", False),
        ("a/2", True),
        ("a/3", False),
    ]
    assert {info.etag for info in kept if info.key == "a/3"} == {
        store.head(versioned, "a/3").etag
    }
    for info in kept:
        store.delete(versioned, info.key, info.version)
    assert list(store.every_version(versioned, "a/")) == []
    assert [key for key, *_ in versions(store, versioned)] == ["b"]


def test_where_no_versions_are_kept_every_version_is_the_object(
    store: ObjectStore, plain: str
) -> None:
    store.put(plain, "a", b"1", "text/plain")
    store.put(plain, "a", b"2", "text/plain")
    assert [(info.key, info.version) for info in store.every_version(plain, "")] == [
        ("a", None)
    ]
