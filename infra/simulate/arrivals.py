"""When photos arrive: recorded, or made up."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from infra.simulate.fleet import HOUR_S, Photo
from shared.errors import Code, PermanentError

DAY_S = 24 * HOUR_S
NOON_H = 14.0
"""When most photos come by day; at night, twelve hours later, next to none do."""
ARCHIVE_H = 22.0
"""When an archive is sent, each night."""
ARCHIVE_PER_S = 20.0


def made_up(days: float, per_day: int, archive: int, seed: int) -> list[Photo]:
    """An app's photos by day (`per_day`, as a wave), and at night an archive's, as fast
    as they can be sent.
    """
    drawn = random.Random(seed)  # noqa: S311 - a simulation
    photos = [Photo(at_s) for at_s in _by_day(days, per_day, drawn)]
    for day in range(math.ceil(days)):
        begin_s = day * DAY_S + ARCHIVE_H * HOUR_S
        photos += [
            Photo(begin_s + number / ARCHIVE_PER_S)
            for number in range(archive)
            if begin_s < days * DAY_S
        ]
    return photos


def _by_day(days: float, per_day: int, drawn: random.Random) -> Iterator[float]:
    """Times of a Poisson process, thinned to the wave."""
    at_s = 0.0
    most_per_s = 2 * per_day / DAY_S
    while most_per_s:
        at_s += drawn.expovariate(most_per_s)
        if at_s >= days * DAY_S:
            return
        angle = 2 * math.pi * (at_s / DAY_S - NOON_H / 24)
        if drawn.random() < (1 + math.cos(angle)) / 2:
            yield at_s


def recorded(path: Path) -> list[Photo]:
    """Photos of a CSV file without a header: the time of each (ISO 8601, UTC without a zone, or seconds), and
    the seconds of work on it, if they are known. Raises `PermanentError` with the line.
    """
    found: list[tuple[float, float | None]] = []
    with path.open(newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if not row:
                continue
            try:
                work_s = _number(row[1]) if len(row) > 1 and row[1] else None
                found.append((_seconds(row[0]), work_s))
            except ValueError as error:
                raise PermanentError(
                    Code.BAD_PARAMETER,
                    f"{path}, line {number}: {','.join(row)!r} is not a time (ISO 8601, or seconds), "
                    "with the seconds of work behind it or none",
                ) from error
    if not found:
        raise PermanentError(Code.BAD_PARAMETER, f"{path} holds no photo")
    first_s = min(at_s for at_s, _ in found)
    return [Photo(at_s - first_s, seconds) for at_s, seconds in found]


def _seconds(text: str) -> float:
    """The time in seconds; UTC without a zone."""
    try:
        return _number(text)
    except ValueError:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _number(text: str) -> float:
    """Seconds. Raises `ValueError` for what is below nought or without end."""
    number = float(text)
    if not 0 <= number < math.inf:
        raise ValueError(text)
    return number
