"""The API on the real store and the real log, with the principal that a test names; the
broker is a list.
"""

from __future__ import annotations

from typing import get_args
from uuid import uuid4

from fastapi import FastAPI
from starlette.testclient import TestClient

from handlers.audit_log.database import AuditLog
from handlers.context import Context
from handlers.http import problems
from handlers.http.api import routes
from handlers.http.api.dependencies import admitted
from handlers.http.auth.middleware import Admitted
from handlers.http.auth.principal import SCOPES, Principal
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from shared.broker import topology
from shared.runtime.settings import Settings
from shared.s3.clock import SystemClock
from shared.s3.store import S3Store
from shared.uploads import identity, keys
from shared.uploads.documents import Copy, Receipt, Record
from shared.uploads.keys import Picture
from shared.uploads.messages import LogEvent
from tests.support.memory_publisher import MemoryPublisher
from tests.support.records import credentials_of, record_of
from tests.support.upload_world import photo


def tenant(
    name: str, settings: Settings, scopes: frozenset[str] = SCOPES - {"admin"}
) -> Principal:
    pepper = settings.pepper.get_secret_value().encode()
    return Principal(identity.user_hash(name, pepper), False, scopes, name)


class ApiWorld:
    """`publisher` holds the messages; `record()` is what the recorder does with them."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.store, self.publisher = (
            settings,
            S3Store(settings),
            MemoryPublisher(),
        )
        self.ctx = Context(settings, self.store, self.publisher, SystemClock())
        self.audit_log = AuditLog(settings)

    def client(self, principal: Principal) -> TestClient:
        app = FastAPI()
        problems.install(app)
        routes.install(app, self.ctx)
        request = Admitted(principal, lambda _bytes: None, lambda _pixels: None)
        app.dependency_overrides[admitted] = lambda: request
        return TestClient(app, follow_redirects=False)

    def upload(self, user: str, data: bytes | None = None) -> Receipt:
        """A new photo of this user, decided on and in the log."""
        key = f"{uuid4()}/grandma.png"
        data = data or photo() + uuid4().bytes
        self.store.put(
            self.settings.bucket_uploads,
            key,
            data,
            "image/png",
            {"user": user, "workflow": "fast"},
        )
        return self.decide(key)

    def decide(self, key: str) -> Receipt:
        """What the handler decides on what lies at a key, with its event in the log."""
        decision = on_upload(
            UploadEvent(self.settings.bucket_uploads, key, "create"), self.ctx
        )
        self.record()
        return self.receipt(decision.upload_id or "")

    def receipt(self, upload_id: str) -> Receipt:
        name = keys.receipt(upload_id)
        return Receipt.from_bytes(
            self.store.read(self.settings.bucket_results, name), name
        )

    def record(self) -> None:
        bodies = self.publisher.bodies(topology.LOG)
        self.audit_log.write([LogEvent.decode(body) for body in bodies])
        self.publisher.sent.clear()

    def restore(
        self, receipt: Receipt, result: bytes = b"png", preview: bytes = b"webp"
    ) -> Record:
        """What a worker leaves behind; its log event is the principal's to write."""
        task = receipt.task_id or ""
        copy = Copy(
            format="jpeg", key=keys.copy(task, "jpg"), sha256="cd" * 32, bytes=3
        )
        record = record_of(receipt, self.ctx.clock.now(), copies=[copy])
        credentials = credentials_of(task, record.result_sha256, record.finished_at)
        record = record.model_copy(
            update={"mask_key": keys.mask(task), "credentials": credentials}
        )
        bucket = self.settings.bucket_results
        self.store.put(bucket, copy.key, b"jpg", "image/jpeg")
        self.store.put(bucket, keys.result(task), result, "image/png")
        self.store.put(bucket, keys.preview(task), preview, "image/webp")
        self.store.put(bucket, keys.mask(task), b"mask", "image/png")
        self.store.put(bucket, credentials.key, b"c2pa", "application/c2pa")
        for of in get_args(Picture):
            self.store.put(bucket, keys.pyramid(task, of), b"zip", "application/zip")
        self.store.put(bucket, keys.record(task), record.to_bytes(), "application/json")
        return record
