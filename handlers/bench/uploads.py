"""`bench handlers`: `on_upload` on photos of 1 MB, beside the same fetch, hash and
write in plain boto3.

Both take turns, upload by upload, in one thread. CPU time is the process's own, the
kernel's part included; wall time is what one upload took, waits for store and broker
included.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

import boto3
from botocore.config import Config

from handlers.bench.figures import Figures, Spread, percentile
from handlers.context import Context
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from shared.runtime.settings import Settings

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
        """Ratios are of one round's CPU time to the reference's in the same round;
        above 1 is faster than it.
        """
        cpu = [seconds for seconds_of_round in self.cpu for seconds in seconds_of_round]
        wall = [
            seconds for seconds_of_round in self.wall for seconds in seconds_of_round
        ]
        return {
            "uploads/s/core": Spread.of(
                [len(taken) / sum(taken) for taken in self.cpu]
            ),
            "cpu ms": statistics.median(cpu) * 1000,
            "p99 cpu ms": percentile(cpu, 0.99) * 1000,
            "wall ms": statistics.median(wall) * 1000,
            "p99 wall ms": percentile(wall, 0.99) * 1000,
            "ratio": Spread.of(
                [
                    sum(theirs) / sum(ours)
                    for ours, theirs in zip(self.cpu, reference.cpu, strict=True)
                ]
            ),
        }


def measure(settings: Settings, uploads: int, rounds: int) -> dict[str, Figures]:
    """`uploads` each round, every one with bytes of its own. Raises `AssertionError` if
    one is not accepted.
    """
    ctx, plain = Context.of(settings), _plain_client(settings)
    ours, theirs = Times(), Times()
    _round(ctx, plain, WARM_UP, Times(), Times())
    for _ in range(rounds):
        _round(ctx, plain, uploads, ours, theirs)
    return {"on_upload": ours.figures(theirs), "plain boto3": theirs.figures(theirs)}


def _round(ctx: Context, plain: Any, uploads: int, ours: Times, theirs: Times) -> None:
    ours.begin_round()
    theirs.begin_round()
    for _ in range(uploads):
        bucket, key = ctx.settings.bucket_uploads, f"incoming/fast/{uuid4()}.jpg"
        ctx.store.put(bucket, key, photo(), "image/jpeg")
        ours.add(partial(_decide, UploadEvent(bucket, key, "create"), ctx))
        theirs.add(partial(_fetch_hash_write, plain, ctx.settings, key))


def _decide(event: UploadEvent, ctx: Context) -> None:
    decision = on_upload(event, ctx)
    assert decision.kind == "queued", decision
    assert not decision.repeated


def _fetch_hash_write(client: Any, settings: Settings, key: str) -> None:
    """What a function that only notes the photo's hash would do; it asks nobody, tells
    nobody, checks nothing.
    """
    data = client.get_object(Bucket=settings.bucket_uploads, Key=key)["Body"].read()
    note = f'{{"sha256": "{hashlib.sha256(data).hexdigest()}"}}'.encode()
    client.put_object(
        Bucket=settings.bucket_results,
        Key=f"bench/{key}",
        Body=note,
        ContentType="application/json",
    )


def _plain_client(settings: Settings) -> Any:
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
