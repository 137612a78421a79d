"""`python -m tests.bench.log_at_scale ROWS`: generated rows in an audit log of their own
on the running stack's database, a year in monthly partitions, and how long the last ten
uploads of a user take to be found. By hand: ten million rows need 15 GB of disk.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial

import psycopg2

from handlers.audit_log.database import AuditLog
from handlers.audit_log.values import Filter
from shared.runtime.settings import Settings
from tests.support.databases import database

USERS = 5_000
ASKED = 2_000
MONTHS = """
    SELECT darkroom.ensure_month(timestamptz '2025-01-01 00:00+00' + number * interval '1 month')
    FROM generate_series(0, 11) AS number
"""
ROWS = """
    INSERT INTO darkroom.restoration_log
        (upload_id, upload_time, task_id, user_id, image_filename, workflow_type, workflow_version, model_size, params,
         scale, signature, status, error_code, result_url, duration_seconds, queue_seconds, attempts, width, height,
         bytes, sha256, engine, device, peak_memory_bytes, peak_device_memory_bytes, tile_px, concurrency)
    SELECT gen_random_uuid(), timestamptz '2025-01-01 00:00+00' + random() * interval '364 days', gen_random_uuid(),
        encode(sha256(convert_to('user ' || (random() ^ 2 * %(users)s)::integer, 'UTF8')), 'hex'),
        'IMG_' || number || '.jpg',
        (ARRAY['fast', 'enhance', 'auto', 'oldphoto'])[1 + (random() ^ 2 * 4)::integer %% 4],
        1, CASE WHEN random() < 0.2 THEN 512 END, '{"scale": 4, "strength": 1.0, "tuning": "raw"}', 4,
        '0123456789abcdef',
        (CASE WHEN random() < 0.03 THEN 'failed' WHEN random() < 0.1 THEN 'duplicate' ELSE 'success'
         END)::darkroom.status,
        NULL, 's3://results/processed/' || gen_random_uuid() || '.png', random() * 30, random() * 100, 1,
        (500 + random() * 4000)::integer, (500 + random() * 3000)::integer, (random() * 5000000)::integer,
        encode(sha256(number::text::bytea), 'hex'), 'torch', 'cuda:0', 2000000000, (random() * 8e9)::bigint,
        (ARRAY[256, 512])[1 + (random() * 2)::integer %% 2], (1 + random() * 8)::integer
    FROM generate_series(%(first)s, %(last)s) AS number
"""
AT_ONCE = 500_000


def main(rows: int) -> None:
    """Fill, ask, print."""
    settings = Settings.load()
    with database(settings) as url:
        began_s = time.monotonic()
        _fill(url, rows)
        print(f"rows={rows} filled_s={time.monotonic() - began_s:.0f}")
        with closing(AuditLog(Settings(database_url=url))) as audit_log:
            for _ in range(3):
                _ask(audit_log, url)


def _fill(url: str, rows: int) -> None:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(MONTHS)
        for first in range(0, rows, AT_ONCE):
            last = min(first + AT_ONCE, rows) - 1
            cursor.execute(ROWS, {"users": USERS, "first": first, "last": last})
        cursor.execute(
            "UPDATE darkroom.restoration_log SET error_code = 'out_of_memory' WHERE status = 'failed'"
        )
        cursor.execute("VACUUM ANALYZE darkroom.restoration_log")


def _ask(audit_log: AuditLog, url: str) -> None:
    with closing(psycopg2.connect(url)) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT DISTINCT user_id FROM darkroom.restoration_log_2025_06")
        users = [user for (user,) in cursor]
        # Beside it a question that costs nothing but the way: how busy the machine is.
        _time("nothing", [partial(cursor.execute, "SELECT 1")] * ASKED)
    asked = random.choices(users, k=ASKED)
    _time("last_ten", [partial(audit_log.page, Filter(user), 10) for user in asked])


def _time(name: str, questions: Sequence[Callable[[], object]]) -> None:
    taken_ms = []
    for ask in questions:
        began_s = time.perf_counter()
        ask()
        taken_ms.append((time.perf_counter() - began_s) * 1000)
    cuts = statistics.quantiles(taken_ms, n=100)
    print(
        f"{name} asked={len(questions)} p50_ms={cuts[49]:.2f} p95_ms={cuts[94]:.2f} p99_ms={cuts[98]:.2f}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
