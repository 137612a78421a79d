"""Identity is derived, never drawn: the same input gives the same id on every machine,
forever.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

NAMESPACE = UUID("6f1d3f0e-0f3a-5d0c-9a55-64a81b8f0d2e")
"""Root of every Darkroom id. Changing it renames every task there ever was: never
change it.
"""

ANONYMOUS = "anonymous"


def canonical_json(value: Any) -> bytes:
    """The one byte form of a JSON value: sorted keys, no blanks, UTF-8, no NaN."""
    return json.dumps(
        value,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    ).encode()


def _derive(*parts: str) -> str:
    # A JSON array, not a join: ("a/b", "c") and ("a", "b/c") must not meet.
    return str(uuid5(NAMESPACE, canonical_json(parts).decode()))


def signature(resolved: dict[str, Any]) -> str:
    """First 16 hex digits of SHA-256 over the canonical JSON of a resolved workflow."""
    return hashlib.sha256(canonical_json(resolved)).hexdigest()[:16]


def user_hash(user: str, pepper: bytes) -> str:
    """Pseudonym of a user: HMAC-SHA256 with the secret pepper, 64 hex digits."""
    return hmac.new(pepper, user.encode(), hashlib.sha256).hexdigest()


def task_id(
    user_hash: str,
    sha256: str,
    signature: str,
    formats: Sequence[str] = (),
    page: int | None = None,
    captions: dict[str, str] | None = None,
) -> str:
    """Same user, same bytes, same resolved workflow, same copies beside the result, same
    page, same captions told: same task. `formats` are in their fixed order.
    """
    wishes = [f"formats={','.join(formats)}"] if formats else []
    if captions:
        wishes.append(f"captions={canonical_json(captions).decode()}")
    return _derive("task", user_hash, sha256, signature, *wishes, *_of_page(page))


def _of_page(page: int | None) -> list[str]:
    """What names a page; the first one needs no name."""
    return [f"page={page}"] if page and page > 1 else []


def ingest_job(name: str) -> str:
    """The job of that name; the same on every machine."""
    return _derive("ingest", name)


def ingest_job_of(user_hash: str, name: str) -> str:
    """The job of that name among those of one user."""
    return _derive("ingest", user_hash, name)


def upload_id(bucket: str, key: str, version: str) -> str:
    """`version` is the object's version id, or its ETag (without quotes) in a bucket
    without versions.
    """
    return _derive("upload", bucket, key, version.strip('"'))


def run_id(upload_id: str, task_id: str, number: int) -> str:
    """The upload id of a run of an uploaded photo. `number` counts, from 0, the runs of
    this task that ended without a result before.
    """
    return _derive("run", upload_id, task_id, str(number))


def preview_id(
    user_hash: str,
    sha256: str,
    signature: str,
    spec: dict[str, Any],
    page: int | None = None,
) -> str:
    """Task id of a preview: never that of the photo, which it is no result of."""
    shown = canonical_json(spec).decode()
    return _derive("preview", user_hash, sha256, signature, shown, *_of_page(page))


def ticket(user_hash: str, key: str) -> str:
    """The same `Idempotency-Key` of the same user: the same ticket."""
    return _derive("ticket", user_hash, key)


def event_id(upload_id: str, kind: str, *parts: str) -> str:
    """Id of one fact about an upload: writing the fact twice gives one row."""
    return _derive("event", upload_id, kind, *parts)
