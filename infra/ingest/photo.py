"""The bytes of one photo, read once and checked while they are read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO

from infra.ingest.checksums import Checksum
from infra.ingest.members import ItemFault, Member
from shared.errors import Code

CHUNK_BYTES = 1 << 20
MEMORY_BYTES = 16 << 20
"""A photo up to this size waits in memory, a larger one in an unnamed file."""


@dataclass(frozen=True)
class Photo:
    """A photo that was read: a file of its bytes, their number and their SHA-256."""

    body: IO[bytes]
    size: int
    sha256: bytes


def read(member: Member, expected: Checksum | None, most: int) -> Photo:
    """Read a file of a source to its end; the caller closes the body.

    Raises `ItemFault` with `too_large` for more than `most` bytes, `checksum_mismatch`,
    or `source_unreadable`.
    """
    if member.size > most:
        raise _too_large(member, most)
    body: IO[bytes] = SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115 - its reader closes it
    try:
        return _read_into(body, member, expected, most)
    except ItemFault:
        body.close()
        raise
    except Exception as error:  # whatever a damaged archive makes of one member
        body.close()
        detail = f"{member.path!r} cannot be read: {error}; copy it again"
        raise ItemFault(Code.SOURCE_UNREADABLE, detail) from error


def _read_into(
    body: IO[bytes], member: Member, expected: Checksum | None, most: int
) -> Photo:
    sha256 = hashlib.sha256()
    check = expected.new() if expected else None
    size = 0
    with member.opened() as file:
        while piece := file.read(CHUNK_BYTES):
            size += len(piece)
            if size > most:
                raise _too_large(member, most)
            sha256.update(piece)
            if check:
                check.update(piece)
            body.write(piece)
    if expected and check and check.hexdigest() != expected.digest:
        raise _mismatch(member, expected.algorithm, check.hexdigest())
    return Photo(body, size, sha256.digest())


def _too_large(member: Member, most: int) -> ItemFault:
    detail = (
        f"{member.path!r} has {member.size:,} bytes, more than the {most:,} that "
        "DARKROOM_MAX_UPLOAD_BYTES, or DARKROOM_PHOTO_LIMITS for jobs, allows; raise it, or scale the photo down"
    )
    return ItemFault(Code.TOO_LARGE, detail)


def _mismatch(member: Member, algorithm: str, found: str) -> ItemFault:
    detail = (
        f"{member.path!r} has the {algorithm} {found}, its list says another; "
        "fetch the file again"
    )
    return ItemFault(Code.CHECKSUM_MISMATCH, detail)
