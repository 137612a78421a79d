"""The manifest of one run: which blob each thing was at that time."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import IO, Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from infra.backup.vault import RUNS, Vault
from shared.errors import Code, NotFound, PermanentError

VERSION = 1
STAMP = "%Y%m%dT%H%M%S.%fZ"
DIGITS = 16


class Row(BaseModel):
    """One line of a manifest."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Run(Row):
    """The first line. `parent`: the run whose state this one changes; `stack`: which
    stack it is of, by its pepper. `settings` have no secrets.
    """

    kind: Literal["run"] = "run"
    v: int = VERSION
    full: bool
    parent: str | None = None
    stack: str
    begun: datetime
    ended: datetime
    software: str
    buckets: dict[str, str]
    settings: dict[str, str]
    migrations: list[str] = []


class Object(Row):
    """An object: which blob it is, and what the store says of it. `part_bytes`: the
    size of its parts where it was put in several, as its ETag depends on it.
    """

    kind: Literal["object"] = "object"
    bucket: str
    key: str
    etag: str
    bytes: int
    modified: datetime
    type: str = ""
    meta: dict[str, str] = {}
    sha256: str
    part_bytes: int | None = None


class Gone(Row):
    """An object that is there no longer."""

    kind: Literal["gone"] = "gone"
    bucket: str
    key: str


class File(Row):
    """Something that is no object: a `table` of the log database, a `model`, a
    `workflow`, or the `secrets`.
    """

    kind: Literal["table", "model", "workflow", "secrets"]
    name: str
    sha256: str
    bytes: int
    rows: int | None = None
    columns: list[str] = []
    parent: str | None = None
    state: str = ""


Line = Annotated[Run | Object | Gone | File, Field(discriminator="kind")]
_LINE: TypeAdapter[Run | Object | Gone | File] = TypeAdapter(Line)


class RunName(NamedTuple):
    """What the name of a manifest says."""

    name: str
    begun: datetime
    is_full: bool
    digest: str

    @property
    def stamp(self) -> str:
        """The name without its folder: it begins with the time."""
        return self.name.removeprefix(f"{RUNS}/")

    @classmethod
    def read(cls, name: str) -> Self | None:
        """None for another file."""
        stem = name.removeprefix(f"{RUNS}/").removesuffix(".jsonl.gz")
        try:
            stamp, kind, digest = stem.split("-")
            begun = datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
        except ValueError:
            return None
        return cls(name, begun, kind == "full", digest)


def runs(vault: Vault) -> list[RunName]:
    """All runs of a vault, oldest first."""
    found = [RunName.read(name) for name in vault.names(RUNS)]
    return sorted(run for run in found if run is not None)


def chain(vault: Vault, until: str = "") -> list[RunName]:
    """The runs that make up the state after the last one, or after the last one until
    then: the full one and what follows it. `until`: a run's name, or the beginning of
    one, such as 20260131T12.

    Raises `NotFound` where there is none.
    """
    known = runs(vault)
    if until:
        stamp = until.removeprefix(f"{RUNS}/")
        known = [run for run in known if run.stamp[: len(stamp)] <= stamp]
    full = [number for number, run in enumerate(known) if run.is_full]
    if not full:
        raise NotFound(Code.BAD_DOCUMENT, f"{vault.place} holds no backup")
    return known[full[-1] :]


def write(run: Run, rows: Iterable[Row], out: IO[bytes]) -> str:
    """Write a manifest into `out`; returns its name. The memory it takes does not grow
    with the rows.
    """
    digest = hashlib.sha256()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed:
        _write_line(packed, digest, run)
        for row in rows:
            _write_line(packed, digest, row)
    kind = "full" if run.full else "more"
    stamp = run.begun.strftime(STAMP)
    return f"{RUNS}/{stamp}-{kind}-{digest.hexdigest()[:DIGITS]}.jsonl.gz"


def read(vault: Vault, run: RunName) -> Iterator[Run | Object | Gone | File]:
    """The lines of a manifest. Raises `PermanentError` where it was altered; what came
    before is then not to be relied on.
    """
    digest = hashlib.sha256()
    try:
        raw = io.BufferedReader(_Raw(vault.chunks(run.name)))
        with gzip.GzipFile(fileobj=raw, mode="rb") as lines:
            for line in lines:
                digest.update(line)
                yield _LINE.validate_json(line)
    except (gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise _altered(vault, run) from error
    if digest.hexdigest()[:DIGITS] != run.digest:
        raise _altered(vault, run)


def _altered(vault: Vault, run: RunName) -> PermanentError:
    return PermanentError(
        Code.BAD_DOCUMENT,
        f"{vault.place}: the manifest {run.name} was altered or cut off; name an earlier run with --at",
    )


def _write_line(out: gzip.GzipFile, digest: hashlib._Hash, row: Row) -> None:
    data = row.model_dump(mode="json", exclude_defaults=True)
    data = {"kind": row.model_dump()["kind"], **data}
    line = json.dumps(data, ensure_ascii=False, sort_keys=True).encode() + b"\n"
    digest.update(line)
    out.write(line)


class _Raw(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = next(self._chunks, b"")
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
