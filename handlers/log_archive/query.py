"""Questions in SQL over live and archived months of the log alike, in DuckDB.

What is asked can only read: the tables are copies in a database of the question's own,
which has no access to files or to the network, takes a bounded amount of memory and
disk, and is interrupted after a while.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from handlers.audit_log.old_months import KINDS, OldMonths
from handlers.context import Context
from handlers.log_archive import lake
from handlers.log_archive.fetch import fetched
from handlers.log_archive.manifest import manifests
from shared.errors import SettingsError

DISK = "20GB"
"""Most that a question spills to the disk."""


@dataclass(frozen=True)
class Bounds:
    """What a question may take. Months are named `2026-01`; ""  is no bound."""

    rows: int = 1000
    seconds: float = 600.0
    since: str = ""
    until: str = ""

    def has(self, month: str) -> bool:
        """Whether a month lies within the bounds, both of which it may equal."""
        return self.since <= month and (not self.until or month <= self.until)


@dataclass
class Answer:
    """`more`: there were more rows than the question may have."""

    names: list[str]
    rows: list[tuple[Any, ...]]
    more: bool
    months: list[str] = field(default_factory=list)


def query(ctx: Context, months: OldMonths, sql: str, bounds: Bounds) -> Answer:
    """Answer one SELECT over `restoration_log` and `restoration_event`.

    Raises `SettingsError` for anything else, and for what DuckDB says of it;
    `DatabaseUnavailable`, `StorageUnavailable`.
    """
    _check(sql)
    kinds = [kind for kind, table in KINDS.items() if table in sql.lower()]
    with TemporaryDirectory(prefix="query-", dir=ctx.settings.scratch_dir) as folder:
        connection = lake.connect(Path(folder) / "query.duckdb")
        try:
            loaded = _load(ctx, months, connection, Path(folder), kinds, bounds)
            _lock(connection, folder)
            answer = _ask(connection, sql, bounds)
        finally:
            connection.close()
    answer.months = loaded
    return answer


def _check(sql: str) -> None:
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise _wrong(error) from error
    kinds = [statement.type for statement in statements]
    if kinds != [duckdb.StatementType.SELECT]:
        raise SettingsError(
            "`darkroom log query` takes one SELECT: the log can be read here, not changed"
        )


def _load(
    ctx: Context,
    months: OldMonths,
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    kinds: list[str],
    bounds: Bounds,
) -> list[str]:
    """Make the tables that the question names; return the archived months in them."""

    def take(kind: str, rows: Iterator[str]) -> None:
        with (folder / f"{kind}.json").open("w", encoding="utf-8") as file:
            file.writelines(f"{row}\n" for row in rows)

    # Live rows first: a month that is archived meanwhile is then there twice, not never.
    months.read_between(bounds.since, bounds.until, kinds, take)
    archived = [each for each in manifests(ctx) if bounds.has(each.month)]
    for kind in kinds:
        columns = months.columns(KINDS[kind])
        lake.load_json(connection, f"live_{kind}", columns, folder / f"{kind}.json")
        stored = [fetched(ctx, getattr(each, kind), folder) for each in archived]
        lake.view_parquet(connection, f"old_{kind}", f"live_{kind}", stored)
    if "log" in kinds:
        names = months.columns(KINDS["log"])
        merged = lake.merged_log("live_log", "old_log", names)
        connection.execute(f"CREATE VIEW {KINDS['log']} AS {merged}")
    if "events" in kinds:
        connection.execute(
            f"CREATE VIEW {KINDS['events']} AS FROM live_events UNION ALL BY NAME FROM old_events o "
            "WHERE NOT EXISTS (FROM live_events l WHERE l.event_id = o.event_id)"
        )
    return [each.month for each in archived]


def _lock(connection: duckdb.DuckDBPyConnection, folder: str) -> None:
    """Leave the question its own folder, and nothing else."""
    quoted = folder.replace("'", "''")
    connection.execute(f"SET max_temp_directory_size = '{DISK}'")
    connection.execute(f"SET allowed_directories = ['{quoted}']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _ask(connection: duckdb.DuckDBPyConnection, sql: str, bounds: Bounds) -> Answer:
    timer = threading.Timer(bounds.seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        asked = connection.execute(sql)
        names = [column[0] for column in asked.description or ()]
        rows = asked.fetchmany(bounds.rows + 1)
    except duckdb.InterruptException as error:
        raise SettingsError(
            f"the question took longer than {bounds.seconds:g} s; bound its months, or give it more by --timeout"
        ) from error
    except duckdb.Error as error:
        raise _wrong(error) from error
    finally:
        timer.cancel()
    more = len(rows) > bounds.rows
    return Answer(names, rows[: bounds.rows], more)


def _wrong(error: duckdb.Error) -> SettingsError:
    return SettingsError(f"the question cannot be answered: {error}")
