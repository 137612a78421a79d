"""What a vault holds, in a database file beside the stack: so a run asks the store for
nothing that did not change, in memory that does not grow with the number of objects.

It can be lost: it is read again from the manifests.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from infra.backup import manifest
from infra.backup.manifest import File, Gone, Object, Row, Run
from infra.backup.vault import Vault
from shared.errors import Code, NotFound, PermanentError
from shared.s3.objects import ObjectInfo

_TABLES = """
create table if not exists object (
    bucket text, key text, etag text, bytes integer, modified text, told integer, seen integer, row text,
    primary key (bucket, key)) without rowid;
create table if not exists gone (bucket text, key text, primary key (bucket, key)) without rowid;
create table if not exists file (kind text, name text, row text, primary key (kind, name)) without rowid;
create table if not exists about (name text primary key, value text);
"""
_KEPT = "insert into object values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (bucket, key) do update set "
_KEEP = _KEPT + (
    "etag = excluded.etag, bytes = excluded.bytes, modified = excluded.modified, told = excluded.told, "
    "seen = excluded.seen, row = excluded.row"
)
COMMIT_EVERY = 500


class Index:
    """The state of a vault after its last run, and what a run that goes on has found."""

    def __init__(self, path: Path | str) -> None:
        self._base = sqlite3.connect(path)
        self._base.execute("pragma journal_mode = wal")
        self._base.executescript(_TABLES)
        self._changes = 0
        self._pass = int(self._about("pass") or 0)

    def close(self) -> None:
        self._base.commit()
        self._base.close()

    @property
    def last(self) -> str:
        """The name of the last run; empty where there was none."""
        return self._about("last")

    def follow(self, vault: Vault) -> None:
        """Take over what the vault's manifests say, unless they are known already."""
        known = manifest.runs(vault)
        newest = known[-1].name if known else ""
        if newest != self.last:
            self.clear()
            if known:
                self.load(vault)

    def clear(self) -> None:
        for table in ("object", "gone", "file", "about"):
            self._base.execute(f"delete from {table}")  # noqa: S608 - our own names
        self._base.commit()

    def load(self, vault: Vault, until: str = "") -> Run:
        """Read the state after the last run, or after the run `until`; its first line.

        Raises `NotFound` and `PermanentError` as the manifests do, also for one that
        is missing between two.
        """
        run, before = None, None
        for name in manifest.chain(vault, until):
            for row in manifest.read(vault, name):
                if isinstance(row, Run):
                    run = row
                    _require_parent(vault, run, before)
                    self._base.execute("delete from file")
                else:
                    self._apply(row)
            before = name.name
        assert run is not None
        self._set("last", str(before))
        self._set("run", run.model_dump_json())
        self._base.commit()
        return run

    @property
    def run(self) -> Run | None:
        """The first line of the last run."""
        found = self._about("run")
        return Run.model_validate_json(found) if found else None

    def _apply(self, row: Row) -> None:
        if isinstance(row, Object):
            self._keep(row, told=1, seen=0)
        elif isinstance(row, Gone):
            where = (row.bucket, row.key)
            self._base.execute("delete from object where bucket = ? and key = ?", where)
        elif isinstance(row, File):
            self.keep_file(row)

    # A run: `begin`, then `is_kept` and `keep` for each object, then `drop_unseen`.

    def begin(self) -> None:
        """From now on nothing was seen."""
        self._pass += 1
        self._set("pass", str(self._pass))

    def is_kept(self, info: ObjectInfo) -> bool:
        """Whether the object is in the vault as it is; it counts as seen then."""
        found = self._base.execute(
            "update object set seen = ? where bucket = ? and key = ? and etag = ? and bytes = ? and modified = ?",
            (
                self._pass,
                info.bucket,
                info.key,
                info.etag,
                info.bytes,
                info.last_modified.isoformat(),
            ),
        )
        return found.rowcount == 1

    def holds(self, info: ObjectInfo) -> bool:
        """Whether the vault has these very bytes of the object, whenever it was put."""
        found = self._base.execute(
            "select 1 from object where bucket = ? and key = ? and etag = ? and bytes = ?",
            (info.bucket, info.key, info.etag, info.bytes),
        )
        return found.fetchone() is not None

    def keep(self, row: Object) -> None:
        """A new or changed object, whose blob is in the vault."""
        self._keep(row, told=0, seen=self._pass)
        self._changes += 1
        if self._changes % COMMIT_EVERY == 0:
            # What is in the vault is known after an interruption.
            self._base.commit()

    def spare(self, info: ObjectInfo) -> None:
        """An object that could not be read now: what is known of it stays."""
        self._base.execute(
            "update object set seen = ? where bucket = ? and key = ?",
            (self._pass, info.bucket, info.key),
        )

    def drop_unseen(self) -> int:
        """Note as gone what this run has not seen; returns how many."""
        self._base.execute(
            "insert or ignore into gone select bucket, key from object where seen < ?",
            (self._pass,),
        )
        return self._base.execute(
            "delete from object where seen < ?", (self._pass,)
        ).rowcount

    def keep_file(self, row: File) -> None:
        self._base.execute(
            "insert or replace into file values (?, ?, ?)",
            (row.kind, row.name, row.model_dump_json()),
        )

    def replace_files(self, rows: list[File]) -> None:
        """What is no object is named whole by each run."""
        self._base.execute("delete from file")
        for row in rows:
            self.keep_file(row)

    def rows(self, is_full: bool) -> Iterator[Row]:
        """The lines of this run's manifest after the first."""
        yield from self.files()
        if not is_full:
            for bucket, key in self._base.execute("select bucket, key from gone"):
                yield Gone(bucket=bucket, key=key)
        where = "" if is_full else "where told = 0"
        for (row,) in self._base.execute(f"select row from object {where}"):  # noqa: S608
            yield Object.model_validate_json(row)

    def told(self, name: str, run: Run) -> None:
        """The manifest of this run is in the vault."""
        self._base.execute("update object set told = 1 where told = 0")
        self._base.execute("delete from gone")
        self._set("last", name)
        self._set("run", run.model_dump_json())
        if run.full:
            self._set("full", run.begun.isoformat())
        self._base.commit()

    @property
    def last_full(self) -> datetime | None:
        """When the last full manifest was begun, as far as this index knows."""
        found = self._about("full")
        return datetime.fromisoformat(found) if found else None

    def files(self, kind: str = "") -> list[File]:
        """What is no object, of one kind or all."""
        found = self._base.execute(
            "select row from file where kind = ? or ? = '' order by kind, name",
            (kind, kind),
        )
        return [File.model_validate_json(row) for (row,) in found]

    def objects(self, bucket: str) -> Iterator[Object]:
        """The objects of a bucket, by key."""
        found = self._base.execute(
            "select row from object where bucket = ? order by key", (bucket,)
        )
        for (row,) in found:
            yield Object.model_validate_json(row)

    def checksums(self) -> Iterator[str]:
        """Every checksum, once."""
        found = self._base.execute(
            "select distinct json_extract(row, '$.sha256') from "
            "(select row from object union all select row from file)"
        )
        for (sha256,) in found:
            yield sha256

    def names_of(self, sha256: str) -> list[str]:
        """What has this checksum; the first few, where many have."""
        found = self._base.execute(
            "select bucket || '/' || key from object where json_extract(row, '$.sha256') = ? "
            "union all select kind || ' ' || name from file where json_extract(row, '$.sha256') = ? limit 5",
            (sha256, sha256),
        )
        return [name for (name,) in found]

    def count(self) -> tuple[int, int]:
        """How many objects there are, and their bytes."""
        found = self._base.execute(
            "select count(*), coalesce(sum(bytes), 0) from object"
        )
        number, size = found.fetchone()
        return int(number), int(size)

    def _keep(self, row: Object, told: int, seen: int) -> None:
        values = (
            row.bucket,
            row.key,
            row.etag,
            row.bytes,
            row.modified.isoformat(),
            told,
            seen,
            row.model_dump_json(exclude_defaults=True),
        )
        self._base.execute(_KEEP, values)

    def _about(self, name: str) -> str:
        found = self._base.execute(
            "select value from about where name = ?", (name,)
        ).fetchone()
        return str(found[0]) if found else ""

    def _set(self, name: str, value: str) -> None:
        self._base.execute("insert or replace into about values (?, ?)", (name, value))


def _require_parent(vault: Vault, run: Run, before: str | None) -> None:
    if not run.full and run.parent != before:
        raise PermanentError(
            Code.BAD_DOCUMENT,
            f"{vault.place}: the manifest {run.parent} is missing; name an earlier run with --at",
        )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold this file: two runs of one stack follow each other."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def held(vault: Vault, until: str = "") -> Index:
    """The state of a vault, in an index in memory's place: a temporary file.

    Raises `NotFound` where it holds no backup.
    """
    index = Index("")
    index.load(vault, until)
    return index


def is_empty(vault: Vault) -> bool:
    """Whether the vault holds no backup yet."""
    try:
        manifest.chain(vault)
    except NotFound:
        return True
    return False
