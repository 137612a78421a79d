"""The log database on its way into a backup and out of one, table by table, in the
database's own text form.

All tables are read in one transaction, and so at one moment. A table whose counters did
not move since the last run is not read again.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import IO, Any

import psycopg2
from psycopg2 import sql

from infra.backup.manifest import File
from shared.errors import Code, DatabaseUnavailable, PermanentError
from shared.runtime.settings import AuditLogSettings

SCHEMA = "darkroom"
LEDGER = "schema_migration"
_TABLES = """
select c.relname, p.relname,
       (select array_agg(a.attname::text order by a.attnum) from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '')
from pg_class c
left join pg_inherits i on i.inhrelid = c.oid
left join pg_class p on p.oid = i.inhparent
where c.relnamespace = 'darkroom'::regnamespace and c.relkind = 'r' and c.relname <> 'schema_migration'
order by c.relname
"""
_COUNTERS = """
select c.relname, concat_ws('/', pg_postmaster_start_time(), s.n_tup_ins, s.n_tup_upd, s.n_tup_del, c.relfilenode)
from pg_class c join pg_stat_user_tables s on s.relid = c.oid
where c.relnamespace = 'darkroom'::regnamespace
"""
_MONTH = re.compile(r"_(\d{4})_(\d{2})$")

Kept = Callable[[str, IO[bytes]], None]


@contextmanager
def connected(settings: AuditLogSettings) -> Iterator[Any]:
    """A connection in one transaction. Raises `DatabaseUnavailable`."""
    try:
        connection = psycopg2.connect(
            settings.database_url.get_secret_value(), connect_timeout=5
        )
    except psycopg2.OperationalError as error:
        raise DatabaseUnavailable("the log database cannot be reached") from error
    try:
        with closing(connection), connection:
            yield connection
    except psycopg2.OperationalError as error:
        raise DatabaseUnavailable("the connection to the log database broke") from error


def migrations(connection: Any) -> list[str]:
    """The migrations that were applied, in order."""
    with connection.cursor() as cursor:
        cursor.execute("select version, name from darkroom.schema_migration order by 1")
        return [f"{version:04d}_{name}" for version, name in cursor.fetchall()]


def read(
    connection: Any,
    known: dict[str, File],
    spool: Callable[[], AbstractContextManager[IO[bytes]]],
    keep: Kept,
) -> list[File]:
    """Give each table to `keep`, as its checksum and its packed rows; what is as it was
    in `known` is not read.
    """
    with connection.cursor() as cursor:
        # Counters first: what changes meanwhile is then read twice, never missed.
        cursor.execute(_COUNTERS)
        states = dict(cursor.fetchall())
        connection.commit()
        cursor.execute("set transaction isolation level repeatable read, read only")
        cursor.execute(_TABLES)
        found = []
        for name, parent, columns in cursor.fetchall():
            state = states.get(name, "")
            before = known.get(name)
            if state and before and (before.state, before.columns) == (state, columns):
                found.append(before)
                continue
            with spool() as file:
                row = _copied(cursor, name, columns, file)
                keep(row["sha256"], file)
            found.append(
                File(
                    kind="table",
                    name=name,
                    parent=parent,
                    columns=columns,
                    state=state,
                    **row,
                )
            )
        return found


def _copied(
    cursor: Any, name: str, columns: list[str], file: IO[bytes]
) -> dict[str, Any]:
    statement = sql.SQL("copy {} ({}) to stdout").format(
        sql.Identifier(SCHEMA, name), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
        cursor.copy_expert(statement, packed)
    rows = cursor.rowcount
    file.seek(0)
    digest = hashlib.sha256()
    size = 0
    while chunk := file.read(1 << 20):
        digest.update(chunk)
        size += len(chunk)
    return {"sha256": digest.hexdigest(), "bytes": size, "rows": rows}


def exists(connection: Any) -> bool:
    """Whether the database has the tables of the audit log."""
    with connection.cursor() as cursor:
        cursor.execute("select to_regclass('darkroom.restoration_log')")
        return cursor.fetchone()[0] is not None


def is_empty(connection: Any) -> bool:
    """Whether the audit log has no row."""
    with connection.cursor() as cursor:
        for table in ("restoration_log", "restoration_event"):
            cursor.execute(
                sql.SQL("select 1 from {} limit 1").format(
                    sql.Identifier(SCHEMA, table)
                )
            )
            if cursor.fetchone():
                return False
    return True


def fill(connection: Any, table: File, packed: IO[bytes]) -> int:
    """Copy the rows of a table into the database; returns how many.

    Rows of a partition go by their parent, whose months are made first. Raises
    `PermanentError` where the schema lacks the table or a column.
    """
    into = table.parent or table.name
    with connection.cursor() as cursor:
        _require_columns(cursor, into, table)
        if month := _MONTH.search(table.name):
            cursor.execute(
                "select darkroom.ensure_month(%s::timestamptz)",
                (f"{month[1]}-{month[2]}-15T00:00:00Z",),
            )
        columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
        statement = sql.SQL("copy {} ({}) from stdin").format(
            sql.Identifier(SCHEMA, into), columns
        )
        with gzip.GzipFile(fileobj=packed, mode="rb") as rows:
            cursor.copy_expert(statement, rows)
        return int(cursor.rowcount)


def _require_columns(cursor: Any, into: str, table: File) -> None:
    cursor.execute(
        "select attname from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped",
        (f"{SCHEMA}.{into}",),
    )
    there = {name for (name,) in cursor.fetchall()}
    if missing := sorted(set(table.columns) - there):
        raise PermanentError(
            Code.BAD_DOCUMENT,
            f"the log database has no {into}.{', '.join(missing)}: the backup is of a later release; restore with it",
        )
