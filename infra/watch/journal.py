"""What a watch knows of its folder, on this machine: it goes on where it was when it was
killed, sends nothing twice, and writes no result under a second name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

SCHEMA = """
create table if not exists photos (
    path text primary key,
    mark text not null,
    ticket text,
    target text,
    ended integer not null default 0,
    fault text
) strict;
create table if not exists stores (url text primary key) strict;
"""
COLUMNS = "path, mark, ticket, target, fault, ended"


@dataclass(frozen=True)
class Entry:
    """One file. `path` and `target`, where its result goes, are relative to the watched
    and to the result folder; `mark` is the size and time of what was sent; `fault` says
    why there is no result. `ended`: nothing more is done for it.
    """

    path: str
    mark: str
    ticket: str | None = None
    target: str | None = None
    fault: str | None = None
    ended: bool = False


class Journal:
    """One SQLite file. Raises `sqlite3.Error` where it is none."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")
        self._db.executescript(SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def entry(self, path: str) -> Entry | None:
        found = self._select("where path = ?", path)
        return next(found, None)

    def under_way(self) -> list[Entry]:
        """The files that were sent and have not ended."""
        return list(self._select("where ticket is not null and not ended"))

    def is_target(self, target: str, path: str) -> bool:
        """Whether another file's result goes there."""
        return any(self._select("where target = ? and path <> ?", target, path))

    def write(self, entry: Entry) -> None:
        """Note a file over what was known of it."""
        self._db.execute(
            f"replace into photos ({COLUMNS}) values (?, ?, ?, ?, ?, ?)",  # noqa: S608 - our own names
            (
                entry.path,
                entry.mark,
                entry.ticket,
                entry.target,
                entry.fault,
                entry.ended,
            ),
        )

    def note_store(self, url: str) -> None:
        """Note a server that photos were sent to, from which results may come."""
        self._db.execute("insert or ignore into stores values (?)", (url,))

    def stores(self) -> list[str]:
        return [url for (url,) in self._db.execute("select url from stores")]

    def forget_refused(self) -> None:
        """Forget the files that were refused before they were sent: perhaps they are
        not now.
        """
        self._db.execute("delete from photos where ended and ticket is null")

    def _select(self, where: str, *values: str) -> Iterator[Entry]:
        rows = self._db.execute(f"select {COLUMNS} from photos {where}", values)  # noqa: S608 - our own words
        for path, mark, ticket, target, fault, ended in rows.fetchall():
            yield Entry(path, mark, ticket, target, fault, bool(ended))
