"""Which files of the archive hold a month of the log: one JSON object a month, written
after the files are stored and verified. It is the truth; the database has an index.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from handlers.context import Context
from shared.errors import NotFound
from shared.s3.objects import ObjectInfo
from shared.uploads import keys
from shared.uploads.documents import Document, Part

NAME = "manifest.json"


class ArchivedFile(Part):
    """One Parquet file: where it lies, and what it must be."""

    key: str
    sha256: str
    bytes: int
    rows: int


class Manifest(Document):
    """`log/{month}/manifest.json`: other files beside it are left over."""

    month: str
    log: ArchivedFile
    events: ArchivedFile
    written_at: datetime

    def place(self) -> str:
        return keys.log_archive(self.month, NAME)


def manifest_of(ctx: Context, month: str) -> Manifest | None:
    """The manifest of a month; None: it is not archived.

    Raises `PermanentError(bad_document)`: what is damaged is not written over.
    """
    key = keys.log_archive(month, NAME)
    try:
        data = ctx.store.read(ctx.settings.bucket_archive, key)
    except NotFound:
        return None
    return Manifest.from_bytes(data, key)


def manifests(ctx: Context) -> Iterator[Manifest]:
    """Every month that is archived, the oldest first."""
    for info in list(_listed(ctx)):
        month = info.key.removeprefix(keys.log_archive()).partition("/")[0]
        found = manifest_of(ctx, month)
        if found is not None:
            yield found


def _listed(ctx: Context) -> Iterator[ObjectInfo]:
    for info in ctx.store.list(ctx.settings.bucket_archive, keys.log_archive()):
        if info.key.endswith(f"/{NAME}"):
            yield info
