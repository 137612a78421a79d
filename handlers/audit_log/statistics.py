"""What the audit log says of a period: shares, sizes, causes of failure, seconds,
duplicates, bursts and users. Its statements are in `statistics.sql`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Protocol

from pydantic import BaseModel, Field

from handlers.audit_log.columns import Row
from handlers.audit_log.values import Filter
from shared.errors import Code

SIZE_BOUNDS = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
"""Of an upload's size [megapixels]."""
MEMORY_BOUNDS = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
"""Of the most memory that a photo took [GiB]: the device's; on a CPU the process's."""
LAST = 10
MOST_ROWS = 200
"""Most rows of sizes and of failures: the most frequent ones."""


class AuditLogFigures(Protocol):
    """What this module needs of `handlers.audit_log.database.AuditLog`."""

    def figures(
        self, name: str, where: Filter, values: dict[str, Any]
    ) -> list[dict[str, Any]]: ...

    def page(self, where: Filter, limit: int) -> list[Row]: ...


class Outcomes(BaseModel):
    """How uploads ended. `failed` has no photo that its owner took back: those are
    `withdrawn`.
    """

    uploads: int
    success: int
    duplicate: int
    failed: int
    rejected: int
    withdrawn: int
    waiting: int
    success_rate: float | None = Field(
        None, description="Of those that were restored, refused or failed; 0 to 1."
    )


class WorkflowShare(Outcomes):
    """The uploads of one workflow. `share`: of all uploads."""

    workflow: str | None
    share: float


class Day(BaseModel):
    """One day (UTC)."""

    day: date
    uploads: int
    success: int
    failed: int


class Size(BaseModel):
    """Uploads of one size class, one scale and one input size of the colour network."""

    megapixels: str | None = Field(description="Of the upload; null: not known.")
    scale: float | None
    model_size: int | None
    uploads: int
    share: float


class Failure(BaseModel):
    """One cause, under one set of circumstances. `rate`: of the photos that ended under
    the same ones.
    """

    error_code: Code | str
    megapixels: str | None
    concurrency: int | None = Field(
        description="Photos that the worker had in hand; null: it came to no device."
    )
    memory_gib: str | None = Field(
        description="The most that was in use: on the device, or by a CPU's worker."
    )
    device: str | None
    failures: int
    ended: int
    rate: float


class Seconds(BaseModel):
    """How long restored photos of one workflow and size took."""

    workflow: str | None
    megapixels: str | None
    photos: int
    mean_s: float
    p50_s: float
    p95_s: float
    p99_s: float
    waited_p95_s: float | None


class Duplicates(BaseModel):
    """Uploads that shared a result. `saved_s` [s] counts each as long as restored
    photos of its workflow and size took on average.
    """

    uploads: int
    saved_s: float


class Burst(BaseModel):
    """One of the ten minutes with the most uploads."""

    minute: datetime
    uploads: int
    users: int


class UserFigures(BaseModel):
    """What one user had done, as for a bill. `megapixels`: of restored uploads;
    `seconds`: of workers, failures among them.
    """

    user: str
    uploads: int
    restored: int
    duplicates: int
    without_result: int
    megapixels: float
    bytes: int
    seconds: float


class Statistics(BaseModel):
    """The figures of a period. `users` is for the operator alone, the most seconds
    first; `last`: the last ten uploads of the one user that was asked for.
    """

    since: datetime
    until: datetime | None
    user: str | None
    total: Outcomes
    workflows: list[WorkflowShare]
    days: list[Day]
    sizes: list[Size]
    failures: list[Failure]
    seconds: list[Seconds]
    duplicates: Duplicates
    bursts: list[Burst]
    users: list[UserFigures] = []
    last: list[Row] = []


def statistics(
    audit_log: AuditLogFigures,
    where: Filter,
    *,
    most_users: int = 0,
    most_rows: int = MOST_ROWS,
) -> Statistics:
    """The figures of the uploads that `where` leaves, whose `since` is set; of up to
    `most_users` users each, and `most_rows` sizes and failures. Raises
    `DatabaseUnavailable`.
    """
    assert where.since is not None
    asked = _Asked(audit_log, where, most_rows)
    workflows = asked.rows("workflows")
    total = _outcomes(_sums(workflows))
    seconds = [Seconds(**_sized(row)) for row in asked.rows("seconds")]
    return Statistics(
        since=where.since,
        until=where.until,
        user=where.user_id,
        total=total,
        workflows=[_share(row, total.uploads) for row in workflows],
        days=[Day(**row) for row in asked.rows("days")],
        sizes=[_size(row, total.uploads) for row in asked.rows("sizes")],
        failures=[_failure(row) for row in asked.rows("failures")],
        seconds=seconds,
        duplicates=_duplicates(asked.rows("duplicates"), seconds),
        bursts=[Burst(**row) for row in asked.rows("bursts")],
        users=[UserFigures(**row) for row in asked.users(most_users)],
        last=audit_log.page(Filter(where.user_id), LAST) if where.user_id else [],
    )


class _Asked:
    """Asks the audit log for figures of the same uploads."""

    def __init__(
        self, audit_log: AuditLogFigures, where: Filter, most_rows: int
    ) -> None:
        self._audit_log = audit_log
        self._where = where
        self._most_rows = most_rows

    def rows(self, name: str) -> list[dict[str, Any]]:
        return self._limited(name, self._most_rows)

    def users(self, most: int) -> list[dict[str, Any]]:
        return self._limited("users", most) if most else []

    def _limited(self, name: str, limit: int) -> list[dict[str, Any]]:
        values = {
            "size_bounds": SIZE_BOUNDS,
            "memory_bounds": MEMORY_BOUNDS,
            "limit": limit,
        }
        return self._audit_log.figures(name, self._where, values)


def named(place: int | None, bounds: Sequence[float]) -> str | None:
    """The class at a place among these bounds in words, such as `2 to 4`."""
    if place is None:
        return None
    if place == 0:
        return f"under {bounds[0]:g}"
    if place == len(bounds):
        return f"over {bounds[-1]:g}"
    return f"{bounds[place - 1]:g} to {bounds[place]:g}"


def _sums(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    counted = set(Outcomes.model_fields) - {"success_rate"}
    return {name: sum(row[name] for row in rows) for name in counted}


def _outcomes(counts: dict[str, int]) -> Outcomes:
    return Outcomes(**counts, success_rate=_success_rate(counts))


def _success_rate(counts: dict[str, Any]) -> float | None:
    ended = counts["success"] + counts["failed"] + counts["rejected"]
    return counts["success"] / ended if ended else None


def _share(row: dict[str, Any], uploads: int) -> WorkflowShare:
    share = row["uploads"] / uploads
    return WorkflowShare(**row, share=share, success_rate=_success_rate(row))


def _sized(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its size in words."""
    return {**row, "megapixels": named(row["size"], SIZE_BOUNDS)}


def _size(row: dict[str, Any], uploads: int) -> Size:
    return Size(**_sized(row), share=row["uploads"] / uploads)


def _failure(row: dict[str, Any]) -> Failure:
    return Failure(
        **_sized(row),
        memory_gib=named(row["memory"], MEMORY_BOUNDS),
        rate=row["failures"] / row["ended"],
    )


def _duplicates(
    rows: Sequence[dict[str, Any]], seconds: Sequence[Seconds]
) -> Duplicates:
    means = {(each.workflow, each.megapixels): each.mean_s for each in seconds}
    saved_s = 0.0
    for row in rows:
        size = named(row["size"], SIZE_BOUNDS)
        saved_s += row["uploads"] * means.get((row["workflow"], size), 0.0)
    uploads = sum(row["uploads"] for row in rows)
    return Duplicates(uploads=uploads, saved_s=round(saved_s, 3))
