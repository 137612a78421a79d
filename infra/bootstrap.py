"""Make the buckets that Darkroom needs, and warm them: the first object in a fresh
bucket can take seconds.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from infra import upload_forms
from shared.errors import NotFound, PermanentError, SettingsError, StorageUnavailable
from shared.runtime.settings import StoreSettings
from shared.runtime.telemetry import logger
from shared.s3.errors import translated
from shared.s3.store import S3Store

WARM_KEY = ".darkroom/warm"
ONCE_KEY = ".darkroom/once"
JSON = "application/json"
MOVED = ".darkroom/moved.json"
MOVES = {"access/keys/": "keys/", "tickets/": "tickets/"}
"""Prefix among the results, in earlier releases → prefix in the bucket for access."""


def buckets(settings: StoreSettings) -> list[str]:
    return [
        settings.bucket_uploads,
        settings.bucket_results,
        settings.bucket_quarantine,
        settings.bucket_archive,
        settings.bucket_access,
    ]


def bootstrap(settings: StoreSettings) -> list[str]:
    """Create what is missing of the buckets; returns the names of those created.

    Raises `StorageUnavailable`, and `PermanentError` where the store refuses, or is one
    that Darkroom cannot rely on.
    """
    store = S3Store(settings)
    with ThreadPoolExecutor(len(buckets(settings))) as pool:
        made = [
            name
            for name in pool.map(
                lambda name: _ensure(store, settings, name), buckets(settings)
            )
            if name
        ]
    for bucket in buckets(settings):
        if bucket != settings.bucket_uploads:  # there, what is put would be an upload
            require_one_winner(store, bucket)
    _move_access(store, settings)
    upload_forms.check(store, settings)
    if versioned := [
        name
        for name in buckets(settings)
        if name != settings.bucket_uploads and keeps(store, name)
    ]:
        detail = (
            "erasing deletes all versions, for which the handlers' key needs s3:GetBucketVersioning, "
            "s3:ListBucketVersions and s3:DeleteObjectVersion; whatever else is written anew or deleted stays as a "
            "version: give these buckets a lifecycle rule that expires noncurrent versions"
        )
        logger().warning("buckets.keep_versions", buckets=versioned, detail=detail)
    return made


def keeps(store: S3Store, bucket: str) -> bool:
    """Whether a bucket keeps versions, or did. Where this key may not ask, the first
    erasure says so.
    """
    with suppress(StorageUnavailable, PermanentError), translated(bucket, ""):
        return "Status" in store.client.get_bucket_versioning(Bucket=bucket)
    return False


def require_one_winner(store: S3Store, bucket: str) -> None:
    """Raises `SettingsError` where the store lets a second writer win: then no work
    would be done only once.
    """
    first = store.put(bucket, ONCE_KEY, b"first", "text/plain")
    second = store.put_new(bucket, ONCE_KEY, b"second", "text/plain")
    written = store.head(bucket, ONCE_KEY)
    store.delete(bucket, ONCE_KEY, first.version)
    if second:
        store.delete(bucket, ONCE_KEY, written.version)
        raise SettingsError(
            f"the object store writes over what is there although `If-None-Match: *` forbids it, in bucket {bucket!r}: "
            "use a store that honours it (SeaweedFS, Amazon S3, MinIO, Ceph), and on Ceph a bucket without versions"
        )


def _ensure(store: S3Store, settings: StoreSettings, bucket: str) -> str | None:
    if _is_there(store, bucket) or not store.make_bucket(bucket):
        return None
    if bucket != settings.bucket_uploads:  # there, it would be an upload
        store.put(bucket, WARM_KEY, b"warm", "text/plain")
        store.delete(bucket, WARM_KEY)
    return bucket


def _is_there(store: S3Store, bucket: str) -> bool:
    """Create a bucket where it is missing; a key that may use a bucket need not be
    allowed to create one.
    """
    with translated(bucket, ""):  # what is no answer of the store
        try:
            store.client.head_bucket(Bucket=bucket)
        except store.client.exceptions.ClientError:
            return False
    return True


def _move_access(store: S3Store, settings: StoreSettings) -> None:
    """API keys and tickets lay among the results once: they go where only handlers read
    and write, and do so once.

    Later nothing is taken from there any more: a key that may write results must not
    become able to make keys.
    """
    results, access = settings.bucket_results, settings.bucket_access
    with suppress(NotFound):
        store.head(access, MOVED)
        return
    for old, new in MOVES.items():
        for info in list(store.list(results, old)):
            # What is there already is as new or newer: a pass that was cut off has
            # copied it.
            store.put_new(
                access,
                new + info.key.removeprefix(old),
                store.read(results, info.key),
                JSON,
            )
            store.delete(results, info.key)
    store.put(access, MOVED, b"{}", JSON)


def reachable(settings: StoreSettings) -> bool:
    """Whether the store answers, and to our key."""
    try:
        S3Store(settings).head(settings.bucket_uploads, WARM_KEY)
    except NotFound:
        return True
    except StorageUnavailable:
        return False
    return True
