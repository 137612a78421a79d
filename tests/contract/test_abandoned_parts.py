"""Abandoned uploads in parts on the real store: I7, none is left; those under way stay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from handlers.context import Context
from handlers.on_sweep import on_sweep
from infra.local.stack import Stack
from shared.s3 import listing
from shared.s3.store import S3Store, Unfinished

# the fixture: buckets of this test's own
from tests.contract.test_reconcile import ctx as ctx
from tests.support.admin import as_admin

DAY_S = 86_400


class Later(S3Store):
    """The store, a week after the uploads whose key begins so."""

    old = "old/"

    def unfinished(self, bucket: str) -> Iterator[Unfinished]:
        for upload in super().unfinished(bucket):
            week = (
                timedelta(days=7, seconds=1)
                if upload.key.startswith(self.old)
                else timedelta()
            )
            yield replace(upload, begun=upload.begun - week)


def test_abandoned_uploads_are_ended_in_pages(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the key, several of one key, with parts and without; a young one can
    still be completed.
    """
    monkeypatch.setattr(listing, "PAGE", 2)
    bucket, store = ctx.settings.bucket_uploads, Later(ctx.settings)
    ctx = replace(ctx, store=store)
    keys = ["old/a.png", "old/a.png", "old/b \u00e9+#%41.png", "old/c.png", "young.png"]
    begun = [
        store.client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        for key in keys
    ]
    parts = [
        store.client.upload_part(
            Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"x"
        )["ETag"]
        for key, upload in list(zip(keys, begun, strict=True))[1:]
    ]
    assert sorted(upload.key for upload in store.unfinished(bucket)) == sorted(keys)
    assert on_sweep(ctx, dry_run=True).multiparts_ended == 4
    assert len(list(store.unfinished(bucket))) == 5
    assert on_sweep(ctx).multiparts_ended == 4
    (young,) = store.unfinished(bucket)
    assert (young.key, young.upload_id) == ("young.png", begun[4])
    assert -2 <= young.age_s < DAY_S
    store.client.complete_multipart_upload(
        Bucket=bucket,
        Key=young.key,
        UploadId=young.upload_id,
        MultipartUpload={"Parts": [{"ETag": parts[-1], "PartNumber": 1}]},
    )
    assert list(store.unfinished(bucket)) == []
    store.end(young)  # over by now: no error, and the object stays
    assert store.read(bucket, young.key) == b"x"


def test_a_bucket_without_any_lists_none(servers: Stack) -> None:
    settings = as_admin(servers.settings)
    store, name = S3Store(settings), f"empty-{uuid4().hex[:8]}"
    store.make_bucket(name)
    assert list(store.unfinished(name)) == []
    store.client.delete_bucket(Bucket=name)
