"""What Darkroom does on Ceph, a second S3 server, beside the suite of the store that runs over it."""

from __future__ import annotations

import pytest

from infra.bootstrap import bootstrap, buckets
from shared.errors import SettingsError
from shared.settings import Settings
from shared.storage import S3Store
from tests.contract.stores import drop_bucket, keep_versions, make_bucket, versions


def test_bootstrap_leaves_nothing_behind(ceph: Settings) -> None:
    """Whether one writer wins is asked each time."""
    store = S3Store(ceph)
    before = {bucket: versions(store, bucket) for bucket in buckets(ceph)}
    bootstrap(ceph)
    assert {bucket: versions(store, bucket) for bucket in buckets(ceph)} == before


def test_a_bucket_in_which_the_second_writer_wins_is_refused(ceph: Settings) -> None:
    """Ceph 16 heeds `If-None-Match` in buckets without versions only: two workers would do the same work."""
    store = S3Store(ceph)
    bucket = make_bucket(store)
    keep_versions(store, bucket)
    try:
        with pytest.raises(SettingsError, match="bucket without versions"):
            bootstrap(ceph.model_copy(update={"bucket_results": bucket}))
    finally:
        drop_bucket(store, bucket)
