"""What a source said of its photos, as Archivematica takes it: Dublin Core by file, and
identifiers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from infra.export.rows import csv_of
from infra.ingest.manifest import FILENAME

METADATA, IDENTIFIERS = "metadata.csv", "identifiers.json"
DUBLIN_CORE = ("dc.", "dcterms.")
IDENTIFIER = "identifier"
LOCAL = "local"
"""The type of an identifier of which nothing more is known."""

Words = Mapping[str, str]


def documents(words: Mapping[str, Words]) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each document that there is something for. `words`: path of an
    original, from its transfer, → the columns that came with it.
    """
    described = {path: _dublin_core(each) for path, each in words.items()}
    described = {path: each for path, each in described.items() if each}
    if described:
        columns = {column: None for each in described.values() for column in each}
        rows = [{FILENAME: path, **each} for path, each in described.items()]
        yield METADATA, csv_of((FILENAME, *columns), rows)
    identified = [
        {
            "file": path,
            "identifiers": [
                {"identifierType": LOCAL, "identifier": each[IDENTIFIER]},
            ],
        }
        for path, each in words.items()
        if each.get(IDENTIFIER)
    ]
    if identified:
        text = json.dumps(identified, indent=1, ensure_ascii=False)
        yield IDENTIFIERS, text.encode()


def _dublin_core(words: Words) -> dict[str, str]:
    return {
        column: value
        for column, value in words.items()
        if value and column.lower().startswith(DUBLIN_CORE)
    }
