"""The figures as Parquet files, by DuckDB: the extra `lake`."""

from __future__ import annotations

import json
import tempfile
from importlib.util import find_spec
from pathlib import Path

from handlers.audit_log.statistics import Statistics
from handlers.reports.tables import tables
from shared.runtime.installation import missing_library


def need_duckdb() -> None:
    """Raises `SettingsError` where the extra `lake` is not installed, with the command
    that helps.
    """
    if find_spec("duckdb") is None:
        raise missing_library("DuckDB", "lake", "figures as Parquet")


def write_parquet(found: Statistics, folder: Path) -> None:
    """Write one Parquet file a table into a folder, which is made where it is missing.

    Raises `OSError`.
    """
    import duckdb

    folder.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    with tempfile.TemporaryDirectory() as scratch:
        for each in tables(found):
            lines = Path(scratch, f"{each.name}.json")
            with lines.open("w", encoding="utf-8") as file:
                for row in each.rows:
                    cells = dict(zip(each.head, row, strict=True))
                    file.write(json.dumps(cells, default=str) + "\n")
            # -1: every row is looked at before a column gets its type.
            read = connection.read_json(
                str(lines), format="newline_delimited", sample_size=-1
            )
            read.write_parquet(str(folder / f"{each.name}.parquet"))
