"""Darkroom in memory around a sweep: uploads come in, messages get lost, workers finish
or die.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import count
from typing import Any

from PIL import Image

from handlers.audit_log.values import Ending
from handlers.context import Context
from handlers.intake.notifications import UploadEvent
from handlers.on_sweep import on_sweep
from handlers.on_upload import on_upload
from handlers.reconcile.report import SweepReport
from shared.broker import topology
from shared.broker.depth import Backlog
from shared.errors import Code, DatabaseUnavailable, StorageUnavailable
from shared.runtime.settings import Settings
from shared.s3.store import ObjectInfo
from shared.uploads import keys
from shared.uploads.claims import Claim, Claims
from shared.uploads.documents import Reason, Receipt, Record
from shared.uploads.messages import LogEvent, RestoreTask
from shared.uploads.ref import UploadRef, upload_id_of
from tests.support.fake_clock import FakeClock
from tests.support.memory_publisher import MemoryPublisher
from tests.support.memory_store import MemoryStore
from tests.support.records import record_of

BUCKETS = ("uploads", "results", "quarantine", "archive")
LEASE_S = 30.0


def photo(colour: int = 0) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (6, 4), (colour % 256, colour // 256 % 256, 7)).save(out, "PNG")
    return out.getvalue()


class CountingStore(MemoryStore):
    """Counts what is read; objects in `out_of_reach` are on a server that is down."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reads: list[str] = []
        self.out_of_reach: set[str] = set()

    def read(self, bucket: str, key: str, version: str | None = None) -> bytes:
        self.reads.append(key)
        if key in self.out_of_reach:
            raise StorageUnavailable("this one's server is down")
        return super().read(bucket, key, version)

    def snapshot(self) -> dict[str, tuple[bytes, datetime]]:
        return {
            f"{b}/{k}": (MemoryStore.read(self, b, k), self.head(b, k).last_modified)
            for b in self._buckets
            for k in self.keys(b)
        }


class TownAuditLog:
    """Knows the ends it was told of."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.down = False

    def ended(self, ends: Sequence[Ending]) -> set[str]:
        if self.down:
            raise DatabaseUnavailable("down")
        return self.known & {end.upload_id for end in ends}

    def twins(self, erased: Sequence[Ending]) -> list[UploadRef]:
        return []


class Town:
    def __init__(self, versioned: tuple[str, ...] = (), **settings: Any) -> None:
        self.clock = FakeClock()
        self.store = CountingStore(self.clock, BUCKETS, versioned)
        self.publisher = MemoryPublisher()
        self.ctx = Context(
            Settings(pepper="p", default_workflow="fast", lease_s=LEASE_S, **settings),
            self.store,
            self.publisher,
            self.clock,
        )
        self.queues: dict[str, list[bytes]] = {queue: [] for queue in topology.ALL}
        self.in_hand = dict.fromkeys(topology.ALL, 0)
        self._taken = 0
        self._photos = count(1)
        self.told: list[LogEvent] = []

    def put(
        self,
        key: str,
        data: bytes | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        """An upload that nobody is told of; without `data`, of a photo that there was
        none like.
        """
        self.store.arrive(
            "uploads", key, data or photo(next(self._photos)), "image/png", metadata
        )
        return self.store.head("uploads", key)

    def upload(
        self,
        key: str,
        data: bytes | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """An upload that the handler decided on; its id."""
        info = self.put(key, data, metadata)
        on_upload(UploadEvent("uploads", key, "create", info.version), self.ctx)
        return upload_id_of(info)

    def receipt(self, upload: str) -> Receipt:
        return Receipt.from_bytes(
            self.store.read("results", keys.receipt(upload)), upload
        )

    def reason(self, upload: str) -> Reason:
        return Reason.from_bytes(
            self.store.read("quarantine", keys.reason(upload)), upload
        )

    def record(self, upload: str) -> Record:
        task_id = self.receipt(upload).task_id or ""
        return Record.from_bytes(
            self.store.read("results", keys.record(task_id)), task_id
        )

    def depths(self) -> dict[str, int]:
        """Everything published so far lies in the queues, but for what was lost or
        taken.
        """
        for sent in self.publisher.sent[self._taken :]:
            self.queues[sent.queue].append(sent.body)
        self._taken = len(self.publisher.sent)
        return {queue: len(bodies) for queue, bodies in self.queues.items()}

    def backlogs(self) -> dict[str, Backlog]:
        return {
            queue: Backlog(ready, self.in_hand[queue])
            for queue, ready in self.depths().items()
        }

    def take(self, count: int, queue: str = topology.BULK) -> None:
        """A worker takes messages, and holds them."""
        self.lose(count, queue)
        self.in_hand[queue] += count

    def lose(
        self, count: int | None = None, queue: str = topology.BULK
    ) -> list[RestoreTask]:
        """Messages that leave the queue without a trace, oldest first."""
        self.depths()
        lost = self.queues[queue][:count]
        self.queues[queue] = self.queues[queue][len(lost) :]
        return [RestoreTask.decode(body) for body in lost]

    def recorded(self) -> list[LogEvent]:
        """The log messages, which the recorder takes."""
        self.depths()
        bodies, self.queues[topology.LOG] = self.queues[topology.LOG], []
        return [LogEvent.decode(body) for body in bodies]

    def messages(self) -> list[str]:
        """Upload ids of the messages that wait for a worker."""
        self.depths()
        bodies = [body for queue in topology.RESTORE for body in self.queues[queue]]
        return [RestoreTask.decode(body).upload_id for body in bodies]

    def claim(self, upload: str, worker: str = "w1") -> Claim:
        receipt = self.receipt(upload)
        claim = self.claims(worker).acquire(receipt.task_id or "", upload)
        assert isinstance(claim, Claim)
        return claim

    def claims(self, worker: str = "w1") -> Claims:
        return Claims(self.store, self.ctx.settings, worker)

    def restore(self, upload: str) -> Record:
        """What the worker leaves behind in the bucket."""
        png = photo(99)
        record = record_of(
            self.receipt(upload),
            self.clock.now(),
            engine="ncnn",
            device="cpu",
            width=6,
            height=4,
            result_bytes=len(png),
        )
        self.store.put(
            "results",
            keys.result(record.task_id),
            png,
            "image/png",
            {"engine": "ncnn", "device": "cpu"},
        )
        self.store.put(
            "results",
            keys.record(record.task_id),
            record.to_bytes(),
            "application/json",
        )
        return record

    def fail(self, upload: str) -> None:
        receipt = self.receipt(upload)
        reason = Reason(
            upload_id=upload,
            task_id=receipt.task_id,
            status="failed",
            error_code=Code.DECODE_ERROR,
            error_detail="broken",
            source=receipt.source,
            at=self.clock.now(),
        )
        self.store.put(
            "quarantine", keys.reason(upload), reason.to_bytes(), "application/json"
        )

    def sweep(self, **arguments: Any) -> SweepReport:
        return on_sweep(self.ctx, backlogs=self.backlogs, **arguments)

    def later(self, seconds: float = LEASE_S + 5) -> None:
        self.clock.advance(seconds)
