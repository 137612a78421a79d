"""Apply the numbered SQL files of `infra/migrations` to the log database, in order,
each once.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from shared.errors import Code, PermanentError, SettingsError, TransientError
from shared.runtime.settings import AuditLogSettings

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 0x6461726B  # "dark": two migrations at once wait for each other

_LEDGER = """
create schema if not exists darkroom;
create table if not exists darkroom.schema_migration (
    version integer primary key, name text not null, sha256 text not null, applied_at timestamptz not null default now()
);
"""


@dataclass(frozen=True)
class Migration:
    version: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """The files `NNNN_name.sql` of `folder`, in order. Raises `SettingsError` on a gap
    or a wrong name.
    """
    found = []
    for number, path in enumerate(sorted(folder.glob("*.sql")), 1):
        match = re.fullmatch(r"(\d{4})_(\w+)\.sql", path.name)
        if match is None or int(match[1]) != number:
            raise SettingsError(
                f"migration {path.name}: expected {number:04d}_name.sql"
            )
        found.append(Migration(number, match[2], path.read_text()))
    return found


def migrate(settings: AuditLogSettings, folder: Path = MIGRATIONS) -> list[str]:
    """Apply what is missing, all of it or nothing; returns the names applied.

    Raises `PermanentError` when a file fails or was edited after it was applied,
    `TransientError` when the database is away, `SettingsError` when none is named.
    """
    url = settings.database_url.get_secret_value()
    if not url:
        raise SettingsError(
            "DARKROOM_DATABASE_URL is not set and no stack is running; start one with `darkroom up`"
        )
    try:
        connection = psycopg2.connect(url, connect_timeout=5)
    except psycopg2.OperationalError as error:
        raise TransientError(
            Code.DATABASE_UNAVAILABLE, "the log database cannot be reached"
        ) from error
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
            cursor.execute(_LEDGER)
            cursor.execute("select version, sha256 from darkroom.schema_migration")
            applied = dict(cursor.fetchall())
            return [
                f"{m.version:04d}_{m.name}"
                for m in migrations(folder)
                if _apply(cursor, m, applied)
            ]
    finally:
        connection.close()


def _apply(cursor: Any, migration: Migration, applied: dict[int, str]) -> bool:
    known = applied.get(migration.version)
    if known == migration.sha256:
        return False
    if known is not None:
        detail = f"migration {migration.version:04d}_{migration.name} was edited after it was applied; add a new file"
        raise PermanentError(Code.SETTINGS, detail)
    try:
        cursor.execute(migration.sql)
    except psycopg2.Error as error:
        detail = f"migration {migration.version:04d}_{migration.name} failed, nothing was applied: {error}"
        raise PermanentError(Code.INTERNAL, detail.strip()) from error
    cursor.execute(
        "insert into darkroom.schema_migration (version, name, sha256) values (%s, %s, %s)",
        (migration.version, migration.name, migration.sha256),
    )
    return True
