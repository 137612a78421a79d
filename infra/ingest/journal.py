"""What was sent of a job, on this machine: a run that was killed goes on where it was,
and sends nothing twice.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from shared.errors import Code
from shared.uploads.ingests import PAGE_ITEMS, IngestItem

SCHEMA = """
create table if not exists items (
    item integer primary key,
    path text unique,
    mark text not null default '',
    bytes integer not null default 0,
    sha256 text,
    key text,
    upload_id text,
    error_code text,
    error_detail text,
    words text not null default '{}',
    modified_at text
) strict;
create table if not exists changed_pages (page integer primary key) strict;
create index if not exists items_by_key on items (key) where key is not null;
"""


COLUMNS = (
    "item, path, bytes, sha256, key, upload_id, error_code, error_detail, words,"
    " modified_at"
)


class Journal:
    """One file a job. A row with a key and without an upload was about to be sent when
    the run ended: whether it was, the store knows.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # What was written outlives the process, if not the machine.
        self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")
        self._db.executescript(SCHEMA)
        self._add_later_columns()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def _add_later_columns(self) -> None:
        """A journal of an earlier release goes on."""
        columns = self._db.execute("select name from pragma_table_info('items')")
        if ("modified_at",) not in columns.fetchall():
            self._db.execute("alter table items add column modified_at text")

    def is_empty(self) -> bool:
        """Whether nothing was ever noted."""
        return self._db.execute("select 1 from items limit 1").fetchone() is None

    def item_of(self, path: str) -> int:
        """The number of a path in the job; a new one for a new path."""
        self._db.execute("insert or ignore into items (path) values (?)", (path,))
        found = self._db.execute("select item from items where path = ?", (path,))
        return int(found.fetchone()[0])

    def is_sent(self, path: str, mark: str) -> bool:
        """Whether the file was sent as it is now."""
        found = self._db.execute(
            "select 1 from items where path = ? and mark = ? and upload_id is not null",
            (path, mark),
        )
        return found.fetchone() is not None

    def was_begun(self, key: str) -> bool:
        """Whether something was sent, or about to be, to a key."""
        found = self._db.execute("select 1 from items where key = ?", (key,))
        return found.fetchone() is not None

    def write(self, item: IngestItem, mark: str) -> None:
        """Note an item over what was known of its path."""
        row = item.model_dump(mode="json")
        row["words"] = json.dumps(item.words, ensure_ascii=False)
        row["mark"] = mark
        self._db.execute(
            f"insert or replace into items ({COLUMNS}, mark) values"  # noqa: S608 - constants
            " (:item, :path, :bytes, :sha256, :key, :upload_id, :error_code,"
            " :error_detail, :words, :modified_at, :mark)",
            row,
        )

    def items(self, page: int | None = None) -> Iterator[IngestItem]:
        """The items of a page, which counts from 1, or all of them, in order."""
        first, last = 1, 1 << 62
        if page is not None:
            last = page * PAGE_ITEMS
            first = last - PAGE_ITEMS + 1
        rows = self._db.execute(
            f"select {COLUMNS} from items where item between ? and ? order by item",  # noqa: S608 - constants
            (first, last),
        )
        for row in rows:
            yield _item(dict(zip(COLUMNS.split(", "), row, strict=True)))

    def changed_pages(self) -> set[int]:
        """The pages that were not written since an item of theirs changed."""
        found = self._db.execute("select page from changed_pages")
        return {int(page) for (page,) in found}

    def page_changed(self, page: int) -> None:
        """Note that a page is to be written."""
        self._db.execute("insert or ignore into changed_pages values (?)", (page,))

    def page_written(self, page: int) -> None:
        """Note that a page was written."""
        self._db.execute("delete from changed_pages where page = ?", (page,))

    def pages(self) -> int:
        """How many pages the items fill."""
        (last,) = self._db.execute("select max(item) from items").fetchone()
        return ((last or 0) - 1) // PAGE_ITEMS + 1

    def counts(self) -> tuple[int, int]:
        """How many items were sent, and how many failed."""
        counted = self._db.execute(
            "select count(upload_id), count(error_code) from items"
        )
        sent, failed = counted.fetchone()
        return int(sent), int(failed)


def _item(row: dict[str, Any]) -> IngestItem:
    row["words"] = json.loads(row["words"])
    if row["error_code"] is not None:
        row["error_code"] = Code(row["error_code"])
    return IngestItem.model_validate(row)
