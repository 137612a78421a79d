"""Content credentials of what an export hands out: in the file, or beside it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from tempfile import TemporaryFile
from typing import IO, Literal

from infra.export.handed import Handed, Signed
from shared import __version__
from shared.credentials.identity import Identity
from shared.credentials.signing import sign
from shared.errors import NotFound
from shared.s3.objects import ObjectInfo
from shared.s3.store import S3Store
from shared.uploads.documents import Credentials, Record

Form = Literal["embed", "sidecar"]
MOST_EMBEDDED_BYTES = 500_000_000
"""A larger file is signed beside itself: to write it anew takes its size in memory."""
CHUNK_BYTES = 1 << 20


class Signing:
    """Signs files of results, each in a process of its own."""

    def __init__(
        self, store: S3Store, results: str, identity: Identity, form: Form
    ) -> None:
        """`results`: the bucket of results."""
        self._store = store
        self._results = results
        self._identity = identity
        self._form = form

    def embeds(self, handed: Handed) -> bool:
        """Whether the credentials of a file are written into it."""
        return self._form == "embed" and handed.bytes <= MOST_EMBEDDED_BYTES

    def signature(self, place: str) -> Signed:
        """What is told of a signature that was just made; its credentials lie at
        `place`.
        """
        who = self._identity
        now = datetime.now(UTC)
        return Signed(
            subject=who.name,
            fingerprint=who.fingerprint,
            algorithm=who.algorithm,
            software=f"darkroom {__version__}",
            at=now,
            place=place,
        )

    def stored(self, record: Record, handed: Handed, notes: list[str]) -> bytes | None:
        """The credentials that the worker made of this very file; None: there are none,
        or not those that its record names, and `notes` says so.
        """
        found = record.credentials
        if found is None or handed.key != record.result_key:
            return None
        is_of_this = found.result_sha256 == handed.sha256
        try:
            data = self._store.read(self._results, found.key)
        except NotFound:
            data = b""
        if is_of_this and hashlib.sha256(data).hexdigest() == found.sha256:
            return data
        notes.append(
            "signed anew: the worker's content credentials are gone, or not those that the record names"
        )
        return None

    @contextmanager
    def signed(
        self, record: Record, handed: Handed, notes: list[str]
    ) -> Iterator[IO[bytes]]:
        """The signed file, or its credentials alone. `notes` gains what is to be told
        about the original's own credentials.

        Raises `CredentialFault`: without its signature nothing is handed out.
        """
        with (
            TemporaryFile() as asset,
            TemporaryFile() as out,
            self._original(record, notes) as original,
        ):
            self._fetch_handed(handed, asset)
            notes += sign(
                self._identity,
                record,
                handed.key,
                asset,
                original,
                out,
                embeds=self.embeds(handed),
            )
            out.seek(0)
            yield out

    @contextmanager
    def _original(self, record: Record, notes: list[str]) -> Iterator[IO[bytes] | None]:
        """The original; None where it is there no more, and is named by its checksum."""
        with TemporaryFile() as file:
            try:
                self._fetch(record.source.stored, file)
            except NotFound:
                notes.append("the original is gone; it is named by its checksum alone")
                yield None
            else:
                yield file

    def _fetch_handed(self, handed: Handed, file: IO[bytes]) -> None:
        if handed.file is None:
            self._fetch(self._store.head(self._results, handed.key), file)
            return
        with handed.file.open("rb") as made:
            shutil.copyfileobj(made, file)
        file.flush()

    def _fetch(self, info: ObjectInfo, file: IO[bytes]) -> None:
        with self._store.open(info.bucket, info.key, info.version) as stream:
            for chunk in stream.chunks():
                file.write(chunk)
        file.flush()


def signature_of(record: Record, found: Credentials, place: str) -> Signed:
    """What is told of a signature that the worker made."""
    return Signed(
        subject=found.subject,
        fingerprint=found.certificate_sha256,
        algorithm=found.algorithm,
        software=record.software,
        at=found.signed_at,
        place=place,
    )


def pieces(file: IO[bytes]) -> Iterator[bytes]:
    """A file's bytes in pieces."""
    while piece := file.read(CHUNK_BYTES):
        yield piece
