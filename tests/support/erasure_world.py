"""Buckets of a test's own, with versions or without, and a look at every byte of
everything that is kept in them.
"""

from __future__ import annotations

import io
import secrets
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

import psycopg2
from PIL import Image
from pydantic import SecretStr

from gpu_worker.pipeline.context import Context as WorkerContext
from gpu_worker.pipeline.outcome import Outcomes
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from infra.bootstrap import buckets
from shared.errors import Code
from shared.runtime.settings import Settings
from shared.uploads import events
from shared.uploads.claims import AttemptsExhausted, Claims
from shared.uploads.documents import Receipt, Record
from tests.support.admin import as_admin
from tests.support.api_world import ApiWorld
from tests.support.stores import drop_bucket
from tests.support.waiting import eventually
from tests.support.worker_rig import FakeDelivery

Versions = Literal["none", "kept", "kept later", "no longer kept"]
VERSIONS: tuple[Versions, ...] = ("none", "kept", "kept later", "no longer kept")
WINDOW = 64
"""So many bytes in a row of a picture are a piece of it."""
NAMES = (
    "bucket_uploads",
    "bucket_results",
    "bucket_quarantine",
    "bucket_archive",
    "bucket_access",
)


def noise() -> bytes:
    """A photo that nothing else resembles."""
    out = io.BytesIO()
    Image.frombytes("RGB", (32, 24), secrets.token_bytes(32 * 24 * 3)).save(out, "PNG")
    return out.getvalue()


@dataclass
class Secrets:
    """What must not be found: pictures by any piece of them, words as they are."""

    pictures: dict[str, bytes] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)

    def picture(self, name: str, data: bytes | None = None) -> bytes:
        return self.pictures.setdefault(name, data or secrets.token_bytes(1500))

    def word(self) -> str:
        word = f"grandma{secrets.token_hex(6)}"
        self.words.add(word)
        return word

    def number(self) -> float:
        """A parameter between 0 and 1, whose digits occur nowhere else."""
        digits = str(secrets.randbelow(8 * 10**11) + 10**11)
        self.words.add(digits)
        return float(f"0.{digits}1")

    def found_in(self, data: bytes) -> list[str]:
        pieces = {data[at : at + WINDOW] for at in range(len(data) - WINDOW + 1)}
        found = [word for word in self.words if word.encode() in data]
        for name, picture in self.pictures.items():
            if any(
                picture[at : at + WINDOW] in pieces
                for at in range(0, len(picture) - WINDOW + 1, WINDOW // 2)
            ):
                found.append(name)
        return found


class ErasureWorld(ApiWorld):
    """The API with worker and log around it, on four buckets and a database of its own."""

    def __init__(self, settings: Settings, url: str, versions: Versions) -> None:
        prefix = f"e{uuid4().hex[:12]}"
        own: dict[str, Any] = {
            name: f"{prefix}-{name.removeprefix('bucket_')}" for name in NAMES
        }
        super().__init__(
            as_admin(settings).model_copy(update=own | {"database_url": SecretStr(url)})
        )
        self.url = url
        for bucket in buckets(self.settings):
            self.store.make_bucket(bucket)
        if versions in ("kept", "no longer kept"):
            self.switch("Enabled")

    def close(self) -> None:
        """Drop the buckets: the store has room for a few hundred."""
        self.audit_log.close()
        for bucket in buckets(self.settings):
            drop_bucket(self.store, bucket)

    def switch(self, status: Literal["Enabled", "Suspended"]) -> None:
        for bucket in buckets(self.settings):
            self.store.client.put_bucket_versioning(
                Bucket=bucket, VersioningConfiguration={"Status": status}
            )

    def put(self, key: str, data: bytes, **metadata: str) -> Receipt:
        self.store.put(self.settings.bucket_uploads, key, data, "image/png", metadata)
        return self.decide(key)

    def reject(self, key: str, data: bytes, **metadata: str) -> str:
        """Something that is no photo; its upload id."""
        self.store.put(self.settings.bucket_uploads, key, data, "image/png", metadata)
        decision = on_upload(
            UploadEvent(self.settings.bucket_uploads, key, "create"), self.ctx
        )
        self.record()
        assert decision.kind == "rejected"
        return decision.upload_id or ""

    def next_second(self, receipt: Receipt) -> None:
        """Wait until what is put now is younger than this upload: object times come in
        whole seconds.
        """
        source = receipt.source
        eventually(
            lambda: self.store.head(source.bucket, source.key).age_s >= 1,
            "the next second",
        )

    def done(self, receipt: Receipt, result: bytes, preview: bytes) -> Record:
        """The worker's work, and the log's."""
        record = self.restore(receipt, result, preview)
        self.audit_log.write([events.of_record(record, self.settings.bucket_results)])
        return record

    def fail(self, receipt: Receipt, code: Code, detail: str = "d") -> None:
        publisher: Any = self.publisher
        delivery: Any = FakeDelivery(b"")
        claims = Claims(self.store, self.settings, "w")
        ctx = WorkerContext(
            self.settings, self.store, publisher, claims, self.ctx.clock
        )
        Outcomes(ctx).exhausted(delivery, receipt, AttemptsExhausted(1, code, detail))
        self.record()

    def found(self, secret: Secrets) -> list[str]:
        """Where anything of it is kept: all versions of all objects with their keys,
        delete markers, every row.
        """
        kept: list[tuple[str, bytes]] = [(row, row.encode()) for row in self.rows()]
        for bucket in buckets(self.settings):
            for page in self.store.client.get_paginator(
                "list_object_versions"
            ).paginate(Bucket=bucket):
                entries: list[Any] = [
                    *page.get("Versions", []),
                    *page.get("DeleteMarkers", []),
                ]
                for entry in entries:
                    data = entry["Key"].encode()
                    if "Size" in entry:
                        version = (
                            None
                            if entry["VersionId"] == "null" and entry["IsLatest"]
                            else entry["VersionId"]
                        )
                        with self.store.open(bucket, entry["Key"], version) as stream:
                            data += str(stream.info.metadata).encode() + b"".join(
                                stream.chunks()
                            )
                    kept.append((f"{bucket} {entry['Key']} {entry['VersionId']}", data))
            # Should a store list no versions where it keeps none:
            kept += [
                (info.key, info.key.encode() + self.store.read(bucket, info.key))
                for info in self.store.list(bucket)
            ]
        return [
            f"{what} in {place}"
            for place, data in kept
            for what in secret.found_in(data)
        ]

    def rows(self) -> list[str]:
        """Everything that the log database says, as text."""
        connection = psycopg2.connect(self.url)
        try:
            cursor = connection.cursor()
            cursor.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'darkroom'"
            )
            tables = [
                name
                for (name,) in cursor.fetchall()
                if not name.startswith("restoration_log_")
            ]
            rows = []
            for table in tables:
                cursor.execute(f'SELECT t::text FROM darkroom."{table}" t')
                rows += [f"{table}: {text}" for (text,) in cursor.fetchall()]
            return rows
        finally:
            connection.close()
