"""Rows of the audit log in DuckDB: read as JSON or Parquet, merged, written as Parquet.

An archived row and a live one of the same upload are one row: the rule is that of the
statement `fold` of the audit log, for two rows in the place of a row and its events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import duckdb

from handlers.audit_log.columns import PERSONAL_COLUMNS

TYPES = {
    "uuid": "UUID",
    "text": "VARCHAR",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "double precision": "DOUBLE",
    "timestamp with time zone": "TIMESTAMPTZ",
    "jsonb": "JSON",
    "status": "VARCHAR",
}
"""PostgreSQL's types → DuckDB's."""
RANKS = "['queued', 'processing', 'rejected', 'failed', 'duplicate', 'success']"
OF_THE_END = ("status", "error_code", "error_detail", "retries")
"""Columns that one of the two rows decides."""
KEYS = ("upload_id", "upload_time")
ORDER = {
    "log": ("upload_time", "upload_id"),
    "events": ("upload_time", "upload_id", "event_id"),
}
"""In which the rows of a file lie, so that the same rows are the same file."""


def connect(file: Path, memory: str = "1GB") -> duckdb.DuckDBPyConnection:
    """A database in a file, which takes no more memory than said and spills beside it."""
    connection = duckdb.connect(str(file))
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET memory_limit = '{memory}'")
    connection.execute(f"SET temp_directory = '{_quoted(str(file))}.tmp'")
    connection.execute("SET preserve_insertion_order = false")
    return connection


def load_json(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: Mapping[str, str],
    file: Path,
) -> None:
    """Make a table of rows that lie in a file, a JSON object a line. `columns` are
    PostgreSQL's.
    """
    types = {name: TYPES[kind] for name, kind in columns.items()}
    declared = ", ".join(f'"{name}" {kind}' for name, kind in types.items())
    connection.execute(f"CREATE TABLE {table} ({declared})")
    pairs = ", ".join(f"'{name}': '{kind}'" for name, kind in types.items())
    if file.stat().st_size:
        connection.execute(
            f"INSERT INTO {table} BY NAME SELECT * FROM read_json('{_quoted(str(file))}', "
            f"format = 'newline_delimited', columns = {{{pairs}}}, maximum_object_size = 67108864)"
        )


def view_parquet(
    connection: duckdb.DuckDBPyConnection,
    view: str,
    like: str,
    files: Sequence[Path],
) -> None:
    """Make a view of Parquet files with the columns of the table `like`, as a release
    of then may have had others.
    """
    columns = connection.execute(f"DESCRIBE {like}").fetchall()
    if not files:
        connection.execute(f"CREATE VIEW {view} AS SELECT * FROM {like} WHERE false")
        return
    listed = ", ".join(f"'{_quoted(str(file))}'" for file in files)
    stored = f"read_parquet([{listed}], union_by_name = true)"
    there = {
        name for name, *_ in connection.execute(f"DESCRIBE FROM {stored}").fetchall()
    }
    wanted = ", ".join(
        f"CAST({_column(name) if name in there else 'NULL'} AS {kind}) AS {_column(name)}"
        for name, kind, *_ in columns
    )
    connection.execute(f"CREATE VIEW {view} AS SELECT {wanted} FROM {stored}")


def merged_log(live: str, old: str, columns: Iterable[str]) -> str:
    """The SELECT of one row an upload: the live row, the archived one, or what both
    make together.
    """
    parts = ", ".join(
        f"{_merged(name)} AS {_column(name)}" for name in columns if name not in KEYS
    )
    return f"""
        SELECT upload_id, upload_time, {parts} FROM (
            SELECT upload_id, upload_time, l, o,
                coalesce(l.error_code = 'erased' OR o.error_code = 'erased', false) AS is_erased,
                CASE WHEN o.status IS NULL OR l.error_code = 'erased' THEN true
                     WHEN l.status IS NULL OR o.error_code = 'erased' THEN false
                     ELSE (l.retries, list_position({RANKS}, l.status))
                          >= (o.retries, list_position({RANKS}, o.status)) END AS is_live
            FROM {live} l FULL JOIN {old} o USING (upload_id, upload_time)
        )
    """


def merged_events(live: str, old: str, log: str) -> str:
    """The SELECT of all events, each once; those of erased uploads without what they
    said of a person.
    """
    blanks = ", ".join(f'"{name}": null' for name in PERSONAL_COLUMNS)
    return f"""
        SELECT e.* REPLACE (
            CASE WHEN erased.upload_id IS NULL THEN fields
                 WHEN fields->>'error_code' = 'erased' THEN json_merge_patch(fields, '{{{blanks}}}')
                 ELSE json_merge_patch(fields, '{{{blanks}, "error_detail": null}}') END AS fields
        )
        FROM (
            SELECT * FROM {live}
            UNION ALL BY NAME
            SELECT * FROM {old} o WHERE NOT EXISTS (FROM {live} l WHERE l.event_id = o.event_id)
        ) AS e
        LEFT JOIN (SELECT upload_id, upload_time FROM {log} WHERE error_code = 'erased') AS erased
            USING (upload_id, upload_time)
    """


def write_parquet(connection: duckdb.DuckDBPyConnection, table: str, file: Path) -> int:
    """Write a table, and read it again; return its rows.

    Raises `OSError` where the file does not say the same.
    """
    order = ", ".join(map(_column, ORDER[table]))
    target = _quoted(str(file))
    connection.execute(
        f"COPY (SELECT * FROM {table} ORDER BY {order}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
    )
    # Parquet has no JSON and no time zone of its own: the text of each row is compared.
    summed = "SELECT count(*), coalesce(bit_xor(hash(CAST(t AS VARCHAR))), 0) FROM"
    names = ", ".join(
        f"CAST({_column(name)} AS {kind}) AS {_column(name)}"
        for name, kind, *_ in connection.execute(f"DESCRIBE {table}").fetchall()
    )
    here = connection.execute(f"{summed} {table} t").fetchone()
    there = connection.execute(
        f"{summed} (SELECT {names} FROM read_parquet('{target}')) t"
    ).fetchone()
    if here != there or here is None:
        raise OSError(f"{file.name}: the file does not say what was written to it")
    return int(here[0])


def _merged(name: str) -> str:
    column = _column(name)
    live, old = f"l.{column}", f"o.{column}"
    if name in OF_THE_END:
        return f"CASE WHEN is_live THEN {live} ELSE {old} END"
    if name == "updated_at":
        return f"greatest({live}, {old})"
    both = f"coalesce({live}, {old})"
    if name in PERSONAL_COLUMNS:
        return f"CASE WHEN is_erased THEN NULL ELSE {both} END"
    return both


def _column(name: str) -> str:
    return f'"{name}"'


def _quoted(text: str) -> str:
    """For between single quotes."""
    return text.replace("'", "''")
