"""Make the buckets that Darkroom needs, and warm them: the first object in a fresh bucket can take seconds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from shared.errors import NotFound, SettingsError, StorageUnavailable
from shared.settings import Settings
from shared.storage import S3Store

WARM_KEY = ".darkroom/warm"
ONCE_KEY = ".darkroom/once"


def buckets(settings: Settings) -> list[str]:
    return [settings.bucket_uploads, settings.bucket_results, settings.bucket_quarantine, settings.bucket_archive]


def bootstrap(settings: Settings) -> list[str]:
    """Create what is missing of the four buckets; returns the names of those created.

    Raises `StorageUnavailable`, and `PermanentError` where the store refuses, or is one that Darkroom cannot rely on.
    """
    store = S3Store(settings)
    with ThreadPoolExecutor(4) as pool:
        made = [name for name in pool.map(lambda name: _ensure(store, settings, name), buckets(settings)) if name]
    for bucket in buckets(settings):
        if bucket != settings.bucket_uploads:  # there, what is put would be an upload
            require_one_winner(store, bucket)
    return made


def require_one_winner(store: S3Store, bucket: str) -> None:
    """Raises `SettingsError` where the store lets a second writer win: then no work would be done only once."""
    first = store.put(bucket, ONCE_KEY, b"first", "text/plain")
    second = store.put_new(bucket, ONCE_KEY, b"second", "text/plain")
    written = store.head(bucket, ONCE_KEY)
    store.delete(bucket, ONCE_KEY, first.version)
    if second:
        store.delete(bucket, ONCE_KEY, written.version)
        raise SettingsError(
            f"the object store writes over what is there although `If-None-Match: *` forbids it, in bucket {bucket!r}: "
            "use a store that heeds it (SeaweedFS, Amazon S3, MinIO, Ceph), and on Ceph a bucket without versions"
        )


def _ensure(store: S3Store, settings: Settings, bucket: str) -> str | None:
    if not store.make_bucket(bucket):
        return None
    if bucket != settings.bucket_uploads:  # there, it would be an upload
        store.put(bucket, WARM_KEY, b"warm", "text/plain")
        store.delete(bucket, WARM_KEY)
    return bucket


def reachable(settings: Settings) -> bool:
    """Whether the store answers, and to our key."""
    try:
        S3Store(settings).head(settings.bucket_uploads, WARM_KEY)
    except NotFound:
        return True
    except StorageUnavailable:
        return False
    return True
