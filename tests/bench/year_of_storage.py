"""`python -m tests.bench.year_of_storage [MEGAPIXELS] [PHOTOS_A_DAY]`: what each bucket
holds after each month of a year, with and without rules, by the sizes of the objects
that are in the running stack. By hand, after some photos were restored there.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from uuid import uuid4

import psycopg2

from handlers.audit_log.database import AuditLog
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from shared.uploads.documents import Record
from shared.uploads.messages import LogEvent
from tests.support.audit_log_events import life
from tests.support.databases import database

MONTH_DAYS = 365 / 12
GROWS = ("uploads", "results/processed.png", "results/copies")
"""What grows with a photo's pixels; all else is as large whatever the photo is."""
DAYS = {
    "uploads": 30,
    "quarantine": 30,
    "results/previews": 90,
    "results/processed.png": 180,
    "results/processed.json": 180,
    "results/receipts": 180,
}
"""The rules that the table has: an original for a month, a result for half a year."""
ARCHIVED_AFTER_DAYS = 180
MONTHS = (1, 3, 6, 9, 12)
ROWS = 5_000
AT_ONCE = 250
ROW_SQL = """
    SELECT sum(pg_total_relation_size(oid)) FROM pg_class
    WHERE relnamespace = 'darkroom'::regnamespace AND relkind = 'r'
      AND (relname LIKE 'restoration_log%' OR relname = 'restoration_event')
"""


@dataclass(frozen=True)
class Mean:
    """Objects and bytes of one photo."""

    objects: float
    size: float


def main(megapixels: float = 1.0, photos_a_day: int = 10_000) -> None:
    """Measure, and print the tables in Markdown."""
    settings = Settings.load()
    store = S3Store(settings)
    means, photos, measured = _measured(store, settings)
    print(
        f"measured on {photos} photos of {measured:.3f} megapixels in the mean; of {megapixels:g} megapixels, "
        f"{photos_a_day:,} a day:\n"
    )
    factor = megapixels / measured
    kinds = {
        name: Mean(mean.objects, mean.size * (factor if name in GROWS else 1))
        for name, mean in means.items()
    }
    _print(kinds, photos_a_day, with_rules=False)
    _print(kinds, photos_a_day, with_rules=True)


def _measured(store: S3Store, settings: Settings) -> tuple[dict[str, Mean], int, float]:
    """Means of one photo, by bucket and prefix; how many there are, and their size."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    pixels = 0
    photos = 0
    for bucket in ("uploads", "results", "quarantine"):
        for info in store.list(bucket):
            prefix = info.key.partition("/")[0]
            name = bucket if bucket != "results" else f"{bucket}/{prefix}"
            if prefix == "processed":
                name += f".{info.key.rpartition('.')[2]}"
            if bucket == "results" and prefix in ("sweep", "workers"):
                continue
            sums[name][0] += 1
            sums[name][1] += info.bytes
            if name == "results/processed.json":
                record = Record.from_bytes(store.read(bucket, info.key), info.key)
                pixels += (record.source.width or 0) * (record.source.height or 0)
                photos += 1
    means = {
        name: Mean(count / photos, size / photos)
        for name, (count, size) in sums.items()
    }
    means["log in the database"] = Mean(1, _bytes_of_a_row(settings))
    archived = [
        (info.bytes, int(store.head(info.bucket, info.key).metadata["rows"]))
        for info in store.list("archive", "log/")
        if info.key.endswith(".parquet")
    ]
    log_rows = sum(rows for _, rows in archived) / 2 or 1
    means["archive/log"] = Mean(0, sum(size for size, _ in archived) / log_rows)
    return means, photos, pixels / photos / 1e6


def _bytes_of_a_row(settings: Settings) -> float:
    """What an upload takes in the database: its row, three events, and their indexes."""
    with (
        database(settings) as url,
        closing(AuditLog(Settings(database_url=url))) as log,
    ):
        for _ in range(ROWS // AT_ONCE):
            uploads = [str(uuid4()) for _ in range(AT_ONCE)]
            log.write([told for each in uploads for told in _life(each)])
        with closing(psycopg2.connect(url)) as connection:
            cursor = connection.cursor()
            cursor.execute(ROW_SQL)
            (size,) = cursor.fetchone() or (0,)
    return float(size) / ROWS


def _life(upload: str) -> list[LogEvent]:
    queued, processing, *_, success = life(upload)
    return [queued, processing, success]


def _print(kinds: dict[str, Mean], photos_a_day: int, *, with_rules: bool) -> None:
    names = sorted(kinds)
    print(
        "With these rules: " + _rules() if with_rules else "Without a rule:", end="\n\n"
    )
    print("| month | " + " | ".join(names) + " | all |")
    print("| --- |" + " --- |" * (len(names) + 1))
    for month in MONTHS:
        days = month * MONTH_DAYS
        sizes = [
            kinds[name].size * photos_a_day * _days(name, days, with_rules)
            for name in names
        ]
        cells = " | ".join(map(_shown, [*sizes, sum(sizes)]))
        print(f"| {month} | {cells} |")
    print()


def _rules() -> str:
    return ", ".join(f"{name} {days} days" for name, days in DAYS.items()) + "."


def _days(name: str, days: float, with_rules: bool) -> float:
    """How many days of photos are there."""
    archived = max(0.0, days - ARCHIVED_AFTER_DAYS)
    if name == "archive/log":
        return archived if with_rules else 0.0
    if name == "log in the database":
        return days - archived if with_rules else days
    return min(days, DAYS.get(name, days)) if with_rules else days


def _shown(size: float) -> str:
    unit = "GB" if size < 1e12 else "TB"
    return f"{size / (1e9 if unit == 'GB' else 1e12):.1f} {unit}"


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:3]))
