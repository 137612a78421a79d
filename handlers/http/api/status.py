"""`/v1/status`: how Darkroom is as a whole, for the operator.

Every part comes from the place that knows it, and is null while that place is away: the
others are told all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from handlers.audit_log.values import Filter
from handlers.context import Context
from handlers.http.api.dependencies import Api, operator
from handlers.http.api.responses import refusals
from handlers.reconcile.watermark import Watermark
from shared import workflows
from shared.backup_state import BackupState
from shared.broker.depth import IN_HAND, sizes
from shared.broker.oldest import OldestMessages
from shared.broker.topology import ALL, dead_queue
from shared.broker.transports import connected
from shared.errors import DarkroomError, NotFound, PermanentError
from shared.offers import Announcement
from shared.runtime.settings import BrokerSettings
from shared.s3.objects import ObjectInfo
from shared.uploads import keys
from shared.workflows import ResolvedWorkflow

router = APIRouter(tags=["operation"])

Part = TypeVar("Part")

MOST_WORKERS = 100
MOST_DEVICES = 100


class Queue(BaseModel):
    """One queue of the broker. `oldest_s`: so long its first message has waited [s];
    null where the message does not say.
    """

    name: str
    messages: int
    oldest_s: float | None
    dead: int = Field(description="Dead letters that came from it.")


class Worker(BaseModel):
    """Workers of one installation, as they announced themselves. `announced_at`: they
    do so at their start, when their abilities change, and once a day.
    """

    host: str
    release: str
    engine: str
    device: str
    announced_at: datetime
    workflows: list[str] = Field(description="What they can run with the defaults.")


class Device(BaseModel):
    """What was done on one kind of device in the last hours."""

    device: str
    engine: str | None
    restored: int
    failed: int
    busy_s: float = Field(description="Seconds that photos took there, added up.")
    last_at: datetime | None


class Sweep(BaseModel):
    """How far the sweep is. `passed_at`: when its last whole pass ended, null while one
    is under way; `settled_until`: everything older has come to its end.
    """

    passed_at: datetime | None
    settled_until: datetime | None
    looked_at: datetime | None = Field(description="Its last look at new uploads.")


class Backup(BaseModel):
    """The last backup that succeeded."""

    begun_at: datetime
    seconds: float
    objects: int
    findings: int


class SystemStatus(BaseModel):
    """How Darkroom is as a whole. A part is null while the service that knows it is
    away; `backup` also where none was ever made.
    """

    at: datetime
    queues: list[Queue] | None
    workers: list[Worker] | None
    devices: list[Device] | None
    sweep: Sweep | None
    backup: Backup | None


@router.get("/status", responses=refusals(), dependencies=[Depends(operator)])
def show_status(
    api: Api,
    hours: Annotated[
        int, Query(ge=1, le=744, description="How far back devices are looked at.")
    ] = 24,
) -> SystemStatus:
    """Queues with their oldest message, workers, devices, sweep and backup: the
    operator's.
    """
    ctx = api.ctx
    since = ctx.clock.now() - timedelta(hours=hours)
    values = {"limit": MOST_DEVICES}

    def devices() -> list[Device]:
        rows = api.audit_log.figures("devices", Filter(since=since), values)
        return [Device(**row) for row in rows]

    return SystemStatus(
        at=ctx.clock.now(),
        queues=_or_none(lambda: _queues(ctx.settings, api.oldest)),
        workers=_or_none(lambda: _workers(ctx)),
        devices=_or_none(devices),
        sweep=_or_none(lambda: _sweep(ctx)),
        backup=_or_none(lambda: _backup(ctx)),
    )


def _or_none(read: Callable[[], Part]) -> Part | None:
    """A part; None while the service that knows it is away."""
    try:
        return read()
    except DarkroomError:
        return None


def _queues(settings: BrokerSettings, oldest: OldestMessages) -> list[Queue]:
    with connected(settings) as (transport, channel):
        messages = sizes(transport, channel)
        messages.pop(IN_HAND, None)
        waiting = {name: messages[name] for name in ALL}
        ages_s = oldest.ages_s(transport, channel, waiting, datetime.now(UTC))
    return [
        Queue(
            name=name,
            messages=count,
            oldest_s=ages_s.get(name),
            dead=messages[dead_queue(name)],
        )
        for name, count in waiting.items()
    ]


def _workers(ctx: Context) -> list[Worker]:
    """What was announced, the latest first."""
    bucket = ctx.settings.bucket_results
    listed = sorted(
        ctx.store.list(bucket, keys.WORKERS),
        key=lambda info: info.last_modified,
        reverse=True,
    )
    presets = [resolved for _, resolved in workflows.offered()]
    read = (_worker(ctx, info, presets) for info in listed[:MOST_WORKERS])
    return [worker for worker in read if worker is not None]


def _worker(
    ctx: Context, info: ObjectInfo, presets: list[ResolvedWorkflow]
) -> Worker | None:
    """None for one that is gone, or of a later release."""
    try:
        data = ctx.store.read(info.bucket, info.key)
        announced = Announcement.from_bytes(data, info.key)
    except (NotFound, PermanentError):
        return None
    return Worker(
        host=announced.host,
        release=announced.release,
        engine=announced.engine,
        device=announced.device,
        announced_at=info.last_modified,
        workflows=[each.ref.name for each in presets if not announced.lacks(each)],
    )


def _sweep(ctx: Context) -> Sweep | None:
    """None where no pass was ever begun."""
    bucket = ctx.settings.bucket_results
    passed = next(iter(ctx.store.list(bucket, keys.SWEEP)), None)
    looked = next(iter(ctx.store.list(bucket, keys.ARRIVALS)), None)
    if passed is None:
        return None
    mark = Watermark.from_bytes(ctx.store.read(bucket, keys.SWEEP), keys.SWEEP)
    is_whole = mark.since is not None and not mark.cursor
    return Sweep(
        passed_at=passed.last_modified if is_whole else None,
        settled_until=mark.since,
        looked_at=looked.last_modified if looked else None,
    )


def _backup(ctx: Context) -> Backup:
    data = ctx.store.read(ctx.settings.bucket_results, keys.BACKUP)
    return Backup(**BackupState.from_bytes(data, keys.BACKUP).model_dump(exclude={"v"}))
