"""One run of the backup: what is new goes into the vault, then a manifest says so.

While it reads, photos go on. What names an object is therefore read before the object:
rows of the log before results, records before copies and credentials, receipts before
uploads. An upload of which the backup has no receipt is taken in when it is restored,
and a result without a row gets one, whereas a receipt without its upload would be one
lost photo. What is interrupted goes on where it was: a blob that lies in the vault is
not sent again.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from infra.backup import manifest, sealed, tables
from infra.backup.index import Index, locked
from infra.backup.manifest import File, Object, Run
from infra.backup.vault import Vault, add_blob, vault_of
from shared import __version__
from shared.errors import DatabaseUnavailable, NotFound, ObjectUnreadable, SettingsError
from shared.runtime.about import fingerprint
from shared.runtime.failpoints import passing
from shared.runtime.settings import Settings, StoreSettings
from shared.s3.objects import ObjectInfo
from shared.s3.store import CHUNK_BYTES, ObjectStore, S3Store
from shared.uploads import keys
from shared.workflows import registry

READERS = 8
AHEAD = 64
"""Objects that are read, or wait for it, at once."""
FULL_EVERY = timedelta(days=1)
OWN = ".darkroom/"
"""Beginning of the keys that Darkroom writes to try out a store."""
PROBE = ".darkroom-probe"
MOST_NAMED = 20


@dataclass
class Report:
    """What a run did. `rpo_from`: everything older is in the backup."""

    place: str
    run: str = ""
    full: bool = False
    begun: str = ""
    seconds: float = 0.0
    objects: int = 0
    objects_bytes: int = 0
    new: int = 0
    new_bytes: int = 0
    gone: int = 0
    tables: int = 0
    rows: int = 0
    secrets: bool = False
    findings: list[str] = field(default_factory=list)

    def printed(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def names(settings: StoreSettings) -> dict[str, str]:
    """Role → name of each bucket, in the order in which they are read."""
    return {
        "access": settings.bucket_access,
        "archive": settings.bucket_archive,
        "quarantine": settings.bucket_quarantine,
        "results": settings.bucket_results,
        "uploads": settings.bucket_uploads,
    }


def index_of(settings: Settings, vault: Vault) -> Path:
    """The file of the index of this vault."""
    folder = settings.state_dir.expanduser().resolve() / "backup"
    named = hashlib.sha256(vault.place.encode()).hexdigest()[:8]
    return folder / f"{named}.sqlite"


def back_up(
    settings: Settings,
    is_full: bool = False,
    store: ObjectStore | None = None,
    said: Callable[[str], None] = lambda _: None,
) -> Report:
    """Bring the vault up to date; full manifests are written each day, or now.

    Objects that cannot be read, and a database that is away, are findings of the
    report; the rest is kept. Raises `StorageUnavailable`, `PermanentError`, `OSError`
    where store or vault refuses, `SettingsError` where the vault is another stack's.
    """
    vault = vault_of(settings)
    path = index_of(settings, vault)
    with locked(path.with_suffix(".lock")):
        return _Backup(settings, vault, path, store or S3Store(settings), said)(is_full)


class _Backup:
    def __init__(
        self,
        settings: Settings,
        vault: Vault,
        path: Path,
        store: ObjectStore,
        said: Callable[[str], None],
    ) -> None:
        self._settings, self._vault, self._path = settings, vault, path
        self._store, self._said = store, said
        self._report = Report(vault.place)

    def __call__(self, is_full: bool) -> Report:
        begun = datetime.now(UTC)
        with closing(Index(self._path)) as index:
            index.follow(self._vault)
            self._require_own(index.run)
            index.begin()
            self._said("audit log")
            files, migrations = self._tables(index)
            buckets = names(self._settings)
            for bucket in buckets.values():
                self._said(bucket)
                self._keep_objects(index, bucket)
            self._report.gone = index.drop_unseen()
            index.replace_files([*files, *self._files(index)])
            self._vault.settle()
            passing("backup.before_manifest")
            run = Run(
                full=is_full or self._is_full_due(index, begun),
                parent=index.last or None,
                stack=fingerprint(self._settings),
                begun=begun,
                ended=datetime.now(UTC),
                software=__version__,
                buckets=buckets,
                settings=self._settings.masked(),
                migrations=migrations,
            )
            self._tell(index, run)
        return self._report

    def _require_own(self, last: Run | None) -> None:
        if last is not None and last.stack != fingerprint(self._settings):
            raise SettingsError(
                f"{self._vault.place} holds the backup of another stack, which has another pepper; "
                "name another place by DARKROOM_BACKUP_URL"
            )

    def _is_full_due(self, index: Index, begun: datetime) -> bool:
        last = index.last_full
        return not index.last or last is None or begun - last >= FULL_EVERY

    def _tell(self, index: Index, run: Run) -> None:
        report = self._report
        with tempfile.TemporaryFile() as file:
            name = manifest.write(run, index.rows(run.full), file)
            self._vault.add(name, file)
        self._vault.settle()
        for _row in manifest.read(self._vault, _named(name)):
            pass
        index.told(name, run)
        report.run, report.full = name, run.full
        report.begun = run.begun.isoformat()
        report.seconds = round((datetime.now(UTC) - run.begun).total_seconds(), 3)
        report.objects, report.objects_bytes = index.count()

    # Objects

    def _keep_objects(self, index: Index, bucket: str) -> None:
        waiting: deque[tuple[ObjectInfo, Future[Object]]] = deque()
        with ThreadPoolExecutor(READERS, "backup") as pool:
            for info in self._listed(bucket):
                if _is_own(info.key) or self._is_pyramid(info):
                    continue
                if not index.is_kept(info):
                    waiting.append((info, pool.submit(self._kept, info)))
                if len(waiting) >= AHEAD:
                    self._note(index, *waiting.popleft())
            while waiting:
                self._note(index, *waiting.popleft())

    def _listed(self, bucket: str) -> Iterator[ObjectInfo]:
        """Records and results first, then what records name."""
        if bucket != self._settings.bucket_results:
            yield from self._store.list(bucket)
            return
        yield from self._store.list(bucket, start_after=keys.PROCESSED)
        for info in self._store.list(bucket):
            if info.key > keys.PROCESSED:
                return
            yield info

    def _is_pyramid(self, info: ObjectInfo) -> bool:
        """Whether an object is made again when somebody wants it."""
        results = self._settings.bucket_results
        return info.bucket == results and info.key.startswith(keys.PYRAMIDS)

    def _note(self, index: Index, info: ObjectInfo, kept: Future[Object]) -> None:
        try:
            row = kept.result()
        except ObjectUnreadable:
            index.spare(info)
            self._find(f"an object of {info.bucket} cannot be read; it is left out")
            return
        except NotFound:  # deleted since it was listed
            return
        index.keep(row)
        self._report.new += 1
        self._report.new_bytes += row.bytes
        passing("backup.after_object")

    def _kept(self, info: ObjectInfo) -> Object:
        """Put an object's bytes into the vault."""
        digest = hashlib.sha256()
        with _spooled() as file:
            with self._store.open(info.bucket, info.key) as stream:
                for chunk in stream.chunks():
                    digest.update(chunk)
                    file.write(chunk)
                now: ObjectInfo = stream.info
            add_blob(self._vault, digest.hexdigest(), file)
        return Object(
            bucket=info.bucket,
            key=info.key,
            etag=now.etag,
            bytes=now.bytes,
            modified=now.last_modified,
            type=now.content_type,
            meta=dict(now.metadata),
            sha256=digest.hexdigest(),
            part_bytes=self._part_bytes(now),
        )

    def _part_bytes(self, info: ObjectInfo) -> int | None:
        """The size of an object's parts, on which its ETag and so its upload's id
        depend; None: it was put in one.
        """
        if "-" not in info.etag or not isinstance(self._store, S3Store):
            return None
        first = self._store.client.head_object(
            Bucket=info.bucket, Key=info.key, PartNumber=1
        )
        return int(first["ContentLength"])

    # What is no object

    def _files(self, index: Index) -> Iterator[File]:
        known = {row.name: row for row in index.files("model")}
        yield from self._models(known)
        yield from self._workflows()
        yield from self._secrets()

    def _tables(self, index: Index) -> tuple[list[File], list[str]]:
        known = {row.name: row for row in index.files("table")}
        last = index.run
        if not self._settings.database_url.get_secret_value():
            self._find(
                "no log database is named (DARKROOM_DATABASE_URL): it is not in this backup"
            )
            return [], []
        try:
            with tables.connected(self._settings) as connection:
                migrations = tables.migrations(connection)
                found = tables.read(connection, known, _spooled, self._add)
        except DatabaseUnavailable as error:
            self._find(f"{error.detail}: its last backup stays")
            return list(known.values()), last.migrations if last else []
        self._report.tables = len(found)
        self._report.rows = sum(row.rows or 0 for row in found)
        return found, migrations

    def _models(self, known: dict[str, File]) -> Iterator[File]:
        """A file is read again only where its size or its time changed."""
        folder = self._settings.models_dir.expanduser()
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path.suffix == ".part":
                continue
            name, stat = str(path.relative_to(folder)), path.stat()
            state = f"{stat.st_size}/{stat.st_mtime_ns}"
            before = known.get(name)
            if before is not None and before.state == state:
                yield before
                continue
            with path.open("rb") as file:
                row = self._file("model", name, file)
            yield row.model_copy(update={"state": state})

    def _workflows(self) -> Iterator[File]:
        for path in sorted(registry.PRESETS.glob("*.json")):
            with path.open("rb") as file:
                yield self._file("workflow", path.stem, file)

    def _secrets(self) -> Iterator[File]:
        data = sealed.sealed(self._settings)
        if data is None:
            self._find(
                "the secrets are not in this backup, the pepper among them: name a key by DARKROOM_BACKUP_RECIPIENT"
            )
            return
        with _spooled() as file:
            file.write(data)
            yield self._file("secrets", "secrets.age", file)
        self._report.secrets = True

    def _file(self, kind: Any, name: str, file: IO[bytes]) -> File:
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        size = file.tell()
        self._add(digest, file)
        return File(kind=kind, name=name, sha256=digest, bytes=size)

    def _add(self, sha256: str, file: IO[bytes]) -> None:
        add_blob(self._vault, sha256, file)

    def _find(self, sentence: str) -> None:
        found = self._report.findings
        if len(found) < MOST_NAMED and sentence not in found:
            found.append(sentence)


@contextmanager
def _spooled() -> Iterator[IO[bytes]]:
    """A temporary file, in memory while it is small."""
    with tempfile.SpooledTemporaryFile(max_size=CHUNK_BYTES) as file:
        yield file


def _named(name: str) -> manifest.RunName:
    run = manifest.RunName.read(name)
    assert run is not None
    return run


def _is_own(key: str) -> bool:
    """Whether an object is no photo's, and new with every run."""
    return key.startswith(OWN) or key.endswith(PROBE) or key == keys.BACKUP
