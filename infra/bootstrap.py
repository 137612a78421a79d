"""Make the buckets that Darkroom needs, and warm them: the first object in a fresh bucket can take seconds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from shared.errors import NotFound, StorageUnavailable
from shared.settings import Settings
from shared.storage import S3Store

WARM_KEY = ".darkroom/warm"


def buckets(settings: Settings) -> list[str]:
    return [settings.bucket_uploads, settings.bucket_results, settings.bucket_quarantine, settings.bucket_archive]


def bootstrap(settings: Settings) -> list[str]:
    """Create what is missing of the four buckets; returns the names of those created.

    Raises `StorageUnavailable`, and `PermanentError` where the store refuses.
    """
    store = S3Store(settings)
    with ThreadPoolExecutor(4) as pool:
        return [name for name in pool.map(lambda name: _ensure(store, settings, name), buckets(settings)) if name]


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
