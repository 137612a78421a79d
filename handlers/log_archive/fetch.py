"""A file of the archive on this machine, verified."""

from __future__ import annotations

import hashlib
from pathlib import Path

from handlers.context import Context
from handlers.log_archive.manifest import ArchivedFile
from shared.errors import Code, PermanentError


def fetched(ctx: Context, file: ArchivedFile, folder: Path) -> Path:
    """Fetch a file into a folder.

    Raises `NotFound`, and `PermanentError(checksum_mismatch)` where it is not what its
    manifest says.
    """
    name = file.key.replace("/", "_")
    path = folder / f"fetched-{name}"
    digest = hashlib.sha256()
    bucket = ctx.settings.bucket_archive
    with ctx.store.open(bucket, file.key) as stream, path.open("wb") as out:
        for chunk in stream.chunks():
            digest.update(chunk)
            out.write(chunk)
    if digest.hexdigest() != file.sha256:
        detail = (
            f"{bucket}/{file.key} is not what its manifest says: SHA-256 {digest.hexdigest()}, not {file.sha256}; "
            "restore it from a backup, nothing was deleted"
        )
        raise PermanentError(Code.CHECKSUM_MISMATCH, detail)
    return path
