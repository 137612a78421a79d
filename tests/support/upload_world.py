"""Darkroom in memory around an upload: an object is put, its event is handled,
documents and messages are read.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from handlers.context import Context
from handlers.intake.decision import Decision
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from shared.broker import topology
from shared.runtime.settings import Settings
from shared.uploads import identity, keys
from shared.uploads.documents import Reason, Receipt
from shared.uploads.messages import LogEvent, RestoreTask
from tests.support.fake_clock import FakeClock
from tests.support.memory_publisher import MemoryPublisher
from tests.support.memory_store import MemoryStore
from tests.support.records import record_of

PEPPER = b"pepper"


ANONYMOUS = identity.user_hash("anonymous", PEPPER)


def photo(
    kind: str = "PNG", colour: int = 90, size: tuple[int, int] = (40, 30)
) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (colour, 80, 70)).save(out, kind)
    return out.getvalue()


@dataclass
class World:
    """A handler with its surroundings in memory."""

    clock: FakeClock = field(default_factory=FakeClock)
    versioned: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.clock, versioned=self.versioned)
        self.publisher = MemoryPublisher()
        given = {"pepper": "pepper", "default_workflow": "fast", **self.settings}
        # Limits count in a broker of the Redis protocol; here there is none.
        settings = Settings(**{"broker_url": "amqp://127.0.0.1:1//", **given})
        self.ctx = Context(settings, self.store, self.publisher, self.clock)

    def put(
        self, key: str, data: bytes, metadata: dict[str, str] | None = None
    ) -> UploadEvent:
        info = self.store.arrive("uploads", key, data, "image/png", metadata)
        return UploadEvent(
            "uploads",
            key,
            "create",
            info.version,
            info.etag,
            len(data),
            None,
            info.last_modified,
        )

    def upload(
        self, key: str, data: bytes, metadata: dict[str, str] | None = None
    ) -> Decision:
        return on_upload(self.put(key, data, metadata), self.ctx)

    def receipt(self, decision: Decision) -> Receipt:
        assert decision.upload_id
        key = keys.receipt(decision.upload_id)
        return Receipt.from_bytes(self.store.read("results", key), key)

    def reason(self, decision: Decision) -> Reason:
        assert decision.upload_id
        key = keys.reason(decision.upload_id)
        return Reason.from_bytes(self.store.read("quarantine", key), key)

    def documents(self) -> dict[str, bytes]:
        """All JSON that the handler wrote."""
        found = {
            f"{b}/{k}": self.store.read(b, k)
            for b in ("results", "quarantine")
            for k in self.store.keys(b)
        }
        return {name: data for name, data in found.items() if name.endswith(".json")}

    def tasks(self, *queues: str) -> list[RestoreTask]:
        """The messages for workers, of these queues or of all."""
        return [
            RestoreTask.decode(body)
            for queue in queues or topology.RESTORE
            for body in self.publisher.bodies(queue)
        ]

    def log(self) -> list[LogEvent]:
        return [LogEvent.decode(body) for body in self.publisher.bodies(topology.LOG)]

    def restore(self, decision: Decision) -> None:
        """What the worker would leave behind."""
        record = record_of(self.receipt(decision), self.clock.now())
        self.store.put(
            "results",
            keys.record(record.task_id),
            record.to_bytes(),
            "application/json",
        )
