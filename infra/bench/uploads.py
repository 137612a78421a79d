"""`bench handlers`: `on_upload` on photos of 1 MB, beside the same fetch, hash and
write in plain boto3.

Both take turns, upload by upload, in one thread. CPU time is the process's own, the
kernel's part included; wall time is what one upload took, waits for store and broker
included.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any
from uuid import uuid4

import boto3
from botocore.config import Config

from handlers.context import Context
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from infra.bench.figures import Figures, Spread, percentile, show
from infra.bench.quiet import quiet
from shared.runtime.settings import Settings, StoreSettings

BYTES = 1_000_000
WARM_UP = 5
_HEADER = bytes.fromhex(
    "ffd8 ffc0001108040006000301110002110003 1100 ffda000c03010002000300003f00"
)
"""Start of a JPEG of 1536 x 1024 px, as far as it is read before its pixels."""


@dataclass
class Times:
    """Seconds of one contender: `cpu[round][upload]`, and the same on the wall's clock."""

    cpu: list[list[float]] = field(default_factory=list)
    wall: list[list[float]] = field(default_factory=list)

    def begin_round(self) -> None:
        self.cpu.append([])
        self.wall.append([])

    def add(self, work: Callable[[], object]) -> None:
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        self.cpu[-1].append(time.process_time() - cpu)
        self.wall[-1].append(time.perf_counter() - wall)

    def figures(self, reference: Times) -> Figures:
        """Return the figures of one row.

        Ratios compare CPU time with the reference's in the same round; above 1 is
        faster.
        """
        cpu = list(chain.from_iterable(self.cpu))
        wall = list(chain.from_iterable(self.wall))
        per_core = [len(taken) / sum(taken) for taken in self.cpu]
        rounds = zip(self.cpu, reference.cpu, strict=True)
        ratios = [sum(theirs) / sum(ours) for ours, theirs in rounds]
        return {
            "uploads/s/core": Spread.of(per_core),
            "cpu ms": statistics.median(cpu) * 1000,
            "p99 cpu ms": percentile(cpu, 0.99) * 1000,
            "wall ms": statistics.median(wall) * 1000,
            "p99 wall ms": percentile(wall, 0.99) * 1000,
            "ratio": Spread.of(ratios),
        }


@dataclass
class Contenders:
    """Both ways of handling an upload, and what each of them took."""

    ctx: Context
    plain_client: Any
    ours: Times = field(default_factory=Times)
    theirs: Times = field(default_factory=Times)

    def run_round(self, uploads: int) -> None:
        """Handle so many uploads in either way, in turn."""
        self.ours.begin_round()
        self.theirs.begin_round()
        bucket = self.ctx.settings.bucket_uploads
        for _ in range(uploads):
            key = f"incoming/fast/{uuid4()}.jpg"
            self.ctx.store.put(bucket, key, photo(), "image/jpeg")
            event = UploadEvent(bucket, key, "create")
            self.ours.add(partial(_decide, event, self.ctx))
            self.theirs.add(partial(self._fetch_hash_write, key))

    def _fetch_hash_write(self, key: str) -> None:
        """Do what a function that only notes the photo's hash would do: no check, no
        message.
        """
        settings = self.ctx.settings
        response = self.plain_client.get_object(Bucket=settings.bucket_uploads, Key=key)
        sha256 = hashlib.sha256(response["Body"].read()).hexdigest()
        self.plain_client.put_object(
            Bucket=settings.bucket_results,
            Key=f"bench/{key}",
            Body=json.dumps({"sha256": sha256}).encode(),
            ContentType="application/json",
        )


def run(settings: Settings, uploads: int, rounds: int, as_json: bool) -> int:
    """Measure, and print the figures; the exit status."""
    quiet(settings)
    measured = measure(settings, uploads, rounds)
    numbers = {"uploads": uploads, "bytes": BYTES, "rounds": rounds}
    return show("handlers", numbers, measured, as_json)


def measure(settings: Settings, uploads: int, rounds: int) -> dict[str, Figures]:
    """Measure `uploads` each round, every one with bytes of its own.

    Raises `AssertionError` if one is not accepted.
    """
    contenders = Contenders(Context.of(settings), _plain_client(settings))
    contenders.run_round(WARM_UP)
    contenders.ours = Times()
    contenders.theirs = Times()
    for _ in range(rounds):
        contenders.run_round(uploads)
    ours, theirs = contenders.ours, contenders.theirs
    return {
        "on_upload": ours.figures(theirs),
        "plain boto3": theirs.figures(theirs),
    }


def _decide(event: UploadEvent, ctx: Context) -> None:
    decision = on_upload(event, ctx)
    assert decision.kind == "queued", decision
    assert not decision.repeated


def _plain_client(settings: StoreSettings) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint_url or None,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key.get_secret_value() or None,
        aws_secret_access_key=settings.s3_secret_key.get_secret_value() or None,
        config=Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def photo() -> bytes:
    """A JPEG of 1 MB with noise for pixels, as far as anything but a decoder can tell."""
    body = os.urandom(BYTES - len(_HEADER) - 2).replace(b"\xff", b"\xfe")
    return _HEADER + body + b"\xff\xd9"
