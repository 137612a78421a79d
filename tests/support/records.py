"""The record that a worker would write, for tests that need one and not the worker."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from shared.uploads import keys
from shared.uploads.documents import Credentials, Receipt, Record


def credentials_of(task_id: str, result_sha256: str, at: datetime) -> Credentials:
    """What a record says of the four bytes of a sidecar."""
    return Credentials(
        key=keys.credentials(task_id),
        sha256="cd" * 32,
        bytes=4,
        result_sha256=result_sha256,
        subject="CN=Example Signer, O=Größe & 档案",
        certificate_sha256="ef" * 32,
        algorithm="es256",
        signed_at=at,
    )


def record_of(receipt: Receipt, at: datetime, **changes: Any) -> Record:
    """A record of the receipt's task, begun and finished `at`; `changes` are fields."""
    assert receipt.task_id
    assert receipt.workflow
    made: dict[str, Any] = {
        "task_id": receipt.task_id,
        "upload_id": receipt.upload_id,
        "user_hash": receipt.user_hash,
        "source": receipt.source,
        "workflow": receipt.workflow,
        "models": [],
        "engine": "e",
        "device": "d",
        "tile": {},
        "steps": [],
        "width": 1,
        "height": 1,
        "result_key": keys.result(receipt.task_id),
        "result_sha256": "ab" * 32,
        "result_bytes": 1,
        "attempts": 1,
        "queued_at": receipt.decided_at,
        "started_at": at,
        "finished_at": at,
        "duration_seconds": 1,
        "queue_seconds": 1,
        "peak_memory_bytes": 1,
        "software": "0",
        "preview": receipt.preview,
    }
    return Record(**made | changes)
