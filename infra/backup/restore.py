"""The way back: everything that a run of a backup says, into empty buckets and an empty
log database. Every checksum is compared on the way.

Uploads come first and receipts after them, so that a receipt is never older than its
upload: the sweep takes an upload for a new one otherwise.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from infra.backup import sealed, tables
from infra.backup.index import Index
from infra.backup.manifest import File, Object, Run
from infra.backup.run import OWN, names
from infra.backup.vault import Vault, checked
from shared import __version__
from shared.errors import Code, DarkroomError, NotFound, PermanentError, SettingsError
from shared.runtime.settings import Settings
from shared.s3.store import CHUNK_BYTES, S3Store
from shared.workflows import registry

WRITERS = 8
AHEAD = 64
UPLOADS, RESULTS = "uploads", "results"
BINARY = "application/octet-stream"


@dataclass
class Restored:
    """What was restored from which run, and what is wrong with it."""

    place: str
    run: str
    begun: str
    software: str
    objects: int = 0
    objects_bytes: int = 0
    rows: int = 0
    models: int = 0
    seconds: float = 0.0
    checksum_mismatches: int = 0
    findings: list[str] = field(default_factory=list)

    def printed(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    def find(self, sentence: str) -> None:
        if sentence not in self.findings:
            self.findings.append(sentence)


def secrets(vault: Vault, index: Index, key: Path) -> dict[str, dict[str, str]]:
    """The secrets of the stack that was backed up.

    Raises `SettingsError` where the backup has none, or the key does not open them.
    """
    rows = index.files("secrets")
    if not rows:
        raise SettingsError(
            f"{vault.place} holds no secrets: the backup was made without a key, and a stack without its pepper "
            "would not know its users; restore into servers of yours, with DARKROOM_PEPPER set"
        )
    return sealed.opened(b"".join(checked(vault, rows[0].sha256)), key)


def fill(
    settings: Settings,
    vault: Vault,
    index: Index,
    said: Callable[[str], None] = lambda _: None,
) -> Restored:
    """Fill buckets, log database and models folder from the state in `index`.

    An object or a table whose checksum is wrong is a finding, and costs only itself.
    Raises `SettingsError` where something is there already or the buckets have other
    names, and what store and database raise.
    """
    run = index.run
    assert run is not None
    report = Restored(vault.place, index.last, run.begun.isoformat(), run.software)
    _require_same_names(settings, run)
    store = S3Store(settings)
    require_empty(settings, store)
    for role in reversed(names(settings)):
        said(role)
        _Bucket(store, vault, report)(index, names(settings)[role])
    said("audit log")
    _fill_tables(settings, vault, index, report)
    _fill_models(settings, vault, index, report)
    _compare_release(index, run, report)
    return report


def require_empty(settings: Settings, store: S3Store) -> None:
    """Raises `SettingsError` naming what is there already."""
    for bucket in names(settings).values():
        for info in store.list(bucket):
            if not info.key.startswith(OWN):
                raise SettingsError(
                    f"bucket {bucket!r} is not empty; a backup is restored into empty buckets only"
                )
    with tables.connected(settings) as connection:
        if not tables.is_empty(connection):
            raise SettingsError(
                "the log database is not empty; a backup is restored into an empty one only"
            )


def _require_same_names(settings: Settings, run: Run) -> None:
    for role, name in names(settings).items():
        if run.buckets.get(role, name) != name:
            raise SettingsError(
                f"the backup's bucket for {role} is {run.buckets[role]!r}, and ids depend on it: "
                f"set DARKROOM_BUCKET_{role.upper()}={run.buckets[role]}"
            )


class _Bucket:
    """Fills buckets, several objects at once."""

    def __init__(self, store: S3Store, vault: Vault, report: Restored) -> None:
        self._store, self._vault, self._report = store, vault, report

    def __call__(self, index: Index, bucket: str) -> None:
        waiting: deque[tuple[Object, Future[None]]] = deque()
        with ThreadPoolExecutor(WRITERS, "restore") as pool:
            for row in index.objects(bucket):
                waiting.append((row, pool.submit(self._put, row)))
                if len(waiting) >= AHEAD:
                    self._note(*waiting.popleft())
            while waiting:
                self._note(*waiting.popleft())

    def _note(self, row: Object, done: Future[None]) -> None:
        try:
            done.result()
        except (NotFound, PermanentError) as error:
            if error.code != Code.BAD_DOCUMENT:
                raise
            self._report.checksum_mismatches += 1
            self._report.find(f"{row.bucket}/{row.key}: {error.detail}")
            return
        self._report.objects += 1
        self._report.objects_bytes += row.bytes

    def _put(self, row: Object) -> None:
        with tempfile.SpooledTemporaryFile(max_size=CHUNK_BYTES) as file:
            for chunk in checked(self._vault, row.sha256):
                file.write(chunk)
            etag = self._sent(row, file)
        if etag != row.etag:
            # Not every store's ETag is a checksum: what is stored is read again.
            _require_stored(self._store, row)

    def _sent(self, row: Object, file: IO[bytes]) -> str:
        file.seek(0)
        if row.part_bytes is None:
            kind = row.type or BINARY
            return self._store.put(row.bucket, row.key, file, kind, row.meta).etag
        return _put_in_parts(self._store, row, row.part_bytes, file)


def _put_in_parts(store: S3Store, row: Object, size: int, file: IO[bytes]) -> str:
    """Its ETag, and with it its upload's id, is the same where its parts are."""
    where: Any = {"Bucket": row.bucket, "Key": row.key}
    begun = store.client.create_multipart_upload(
        **where, ContentType=row.type or BINARY, Metadata=row.meta
    )
    where["UploadId"] = begun["UploadId"]
    parts: Any = []
    while data := file.read(size):
        number = len(parts) + 1
        sent = store.client.upload_part(**where, PartNumber=number, Body=data)
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    done = store.client.complete_multipart_upload(
        **where, MultipartUpload={"Parts": parts}
    )
    return done["ETag"].strip('"')


def _require_stored(store: S3Store, row: Object) -> None:
    digest = hashlib.sha256()
    with store.open(row.bucket, row.key) as stream:
        for chunk in stream.chunks():
            digest.update(chunk)
    if digest.hexdigest() != row.sha256:
        raise PermanentError(
            Code.BAD_DOCUMENT,
            f"an object of {row.bucket} came into the store with other bytes: SHA-256 {digest.hexdigest()}",
        )


def _fill_tables(
    settings: Settings, vault: Vault, index: Index, report: Restored
) -> None:
    with tables.connected(settings) as connection:
        for row in index.files("table"):
            with tempfile.SpooledTemporaryFile(max_size=CHUNK_BYTES) as file:
                if _fetched(vault, row, file, report):
                    report.rows += tables.fill(connection, row, file)


def _fill_models(
    settings: Settings, vault: Vault, index: Index, report: Restored
) -> None:
    """A file that is there is left as it is; `doctor` says where it is another one."""
    folder = settings.models_dir.expanduser()
    for row in index.files("model"):
        path = folder / row.name
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        with part.open("wb") as file:
            is_right = _fetched(vault, row, file, report)
        if is_right:
            part.replace(path)
            report.models += 1
        else:
            part.unlink()


def _fetched(vault: Vault, row: File, file: IO[bytes], report: Restored) -> bool:
    """Write a blob into `file`; False, and a finding, where it is not what it was."""
    try:
        for chunk in checked(vault, row.sha256):
            file.write(chunk)
    except DarkroomError as error:
        report.checksum_mismatches += 1
        report.find(f"{row.kind} {row.name}: {error.detail}")
        return False
    file.seek(0)
    return True


def _compare_release(index: Index, run: Run, report: Restored) -> None:
    if run.software != __version__:
        report.find(
            f"the backup is of release {run.software}, and this is {__version__}"
        )
    here = {path.stem: path for path in registry.PRESETS.glob("*.json")}
    for row in index.files("workflow"):
        path = here.get(row.name)
        if path is None:
            report.find(f"workflow {row.name} of the backup is missing in this release")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != row.sha256:
            report.find(
                f"workflow {row.name} of this release is another one than the backup's"
            )
