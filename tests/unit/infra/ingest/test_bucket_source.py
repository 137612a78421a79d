"""A prefix of a bucket as a source; what a dry run says of hours and bytes."""

from __future__ import annotations

import pytest

from infra.ingest import inventory, sources
from infra.ingest.bucket_source import Bucket
from infra.ingest.estimate import Sample, estimated
from infra.ingest.members import Member, Refused
from shared.errors import SettingsError
from tests.support.memory_store import MemoryStore


def test_a_prefix_is_a_folder() -> None:
    """Its lists of checksums are read, its neighbours are not, and a key that leads out
    fails by name.
    """
    store = MemoryStore()
    for key in (
        "scans/1931/ä b.jpg",
        "scans-2/x.jpg",
        "scans/empty/",
        "scans/../y.jpg",
    ):
        store.put("archive", key, key.encode(), "image/jpeg")
    source = Bucket("s3://archive/scans/", store)
    assert source.name == "scans"
    found = {member.path: member for member in source.members()}
    assert list(found) == ["../y.jpg", "1931/ä b.jpg"]
    assert isinstance(found["../y.jpg"], Refused)
    member = found["1931/ä b.jpg"]
    assert isinstance(member, Member)
    assert sources.read(member, 100) == "scans/1931/ä b.jpg".encode()
    assert inventory.taken(source).photos == {"1931/ä b.jpg": member.size}


def test_an_address_without_a_bucket_is_refused() -> None:
    with pytest.raises(SettingsError, match="no bucket"):
        Bucket("s3:///scans", MemoryStore())


def test_an_estimate_is_that_of_the_middle_photo() -> None:
    """One that took for ever does not count, nor does one of which no size is known."""
    usual = Sample(bytes_in=1000, seconds=2, bytes_out=3000)
    samples = [usual, usual, Sample(1000, 9999, 9999), Sample(0, 1, 1)]
    found = estimated(3_600_000, samples)
    assert found is not None
    assert (found.hours, found.bytes_out, found.photos) == (2.0, 10_800_000, 3)
    assert estimated(1, []) is None
