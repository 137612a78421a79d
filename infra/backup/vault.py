"""Where a backup lies: a folder, or a bucket of any store. Nothing in it is ever written
over; only `prune` deletes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol
from uuid import uuid4

from pydantic import SecretStr

from shared.errors import (
    Code,
    NotFound,
    PermanentError,
    SettingsError,
    StorageUnavailable,
)
from shared.runtime.settings import Settings
from shared.s3.store import CHUNK_BYTES, S3Store

BLOBS, RUNS, PROBES = "blobs", "runs", "probes"
S3 = "s3://"
BINARY = "application/octet-stream"


class Vault(Protocol):
    """Entries by name. Methods raise `StorageUnavailable` or `OSError` while the vault
    does not answer, and `PermanentError` where it refuses.
    """

    place: str
    """Its address, for people."""

    def add(self, name: str, file: IO[bytes]) -> bool:
        """Write an entry from a file's beginning, if there is none of this name.

        False: there is one, and nothing was written.
        """

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of an entry. Raises `NotFound`."""

    def names(self, folder: str) -> Iterator[str]:
        """The names of the entries of a folder, in no order."""

    def delete(self, name: str) -> None:
        """Delete an entry, in every version. An account that may only add is refused."""

    def settle(self) -> None:
        """Return when everything that was added outlives a loss of power."""

    def laxities(self) -> list[str]:
        """What this account may do beyond adding, each a sentence."""


def vault_of(settings: Settings) -> Vault:
    """The vault that the settings name; without one the folder beside the state
    folder.

    Raises `SettingsError` for an address that is none.
    """
    url = settings.backup_url
    if url.startswith(S3):
        return _bucket_vault(settings, url)
    if "://" in url:
        raise SettingsError(
            f"DARKROOM_BACKUP_URL: {url} is neither a folder nor s3://bucket/prefix"
        )
    return FolderVault(Path(url).expanduser() if url else default_folder(settings))


def default_folder(settings: Settings) -> Path:
    """`{state folder}-backup`."""
    state = settings.state_dir.expanduser().resolve()
    return state.with_name(f"{state.name}-backup")


def blob(sha256: str) -> str:
    """The name of the blob with this checksum."""
    return f"{BLOBS}/{sha256[:2]}/{sha256}"


def checked(vault: Vault, sha256: str) -> Iterator[bytes]:
    """The bytes of a blob. Raises `PermanentError` at its end where they are not those
    of its checksum, and `NotFound` where it is missing.
    """
    digest = hashlib.sha256()
    for chunk in vault.chunks(blob(sha256)):
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != sha256:
        raise PermanentError(
            Code.BAD_DOCUMENT,
            f"{vault.place}: blob {sha256} was altered: its SHA-256 is {digest.hexdigest()}",
        )


def add_blob(vault: Vault, sha256: str, file: IO[bytes]) -> bool:
    """Add a blob and read it back. False: it was there.

    Raises `PermanentError` where the vault does not hold what was written.
    """
    is_new = vault.add(blob(sha256), file)
    if is_new:
        for _chunk in checked(vault, sha256):
            pass
    return is_new


class FolderVault:
    """A vault in a folder that only its owner may list."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self.place = str(self._folder)

    def add(self, name: str, file: IO[bytes]) -> bool:
        path = self._folder / name
        if path.exists():
            return False
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f".{uuid4().hex}.part")
        try:
            with part.open("xb") as out:
                part.chmod(0o600)
                file.seek(0)
                while chunk := file.read(CHUNK_BYTES):
                    out.write(chunk)
            os.link(part, path)
        except FileExistsError:  # another run was quicker
            return False
        finally:
            part.unlink(missing_ok=True)
        return True

    def chunks(self, name: str) -> Iterator[bytes]:
        try:
            with (self._folder / name).open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        except FileNotFoundError as error:
            raise NotFound(
                Code.BAD_DOCUMENT, f"{self.place}: {name} is missing"
            ) from error

    def names(self, folder: str) -> Iterator[str]:
        for path in (self._folder / folder).rglob("*"):
            if path.is_file() and not path.name.startswith("."):
                yield str(path.relative_to(self._folder))

    def delete(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def settle(self) -> None:
        os.sync()

    def laxities(self) -> list[str]:
        """Whoever writes into a folder may delete there: only another account's store
        can forbid that.
        """
        return []


class BucketVault:
    """A vault under a prefix of a bucket. Its account needs to get, list and put."""

    def __init__(self, store: S3Store, bucket: str, prefix: str) -> None:
        self._store, self._bucket = store, bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self.place = f"{S3}{bucket}/{prefix}"

    def add(self, name: str, file: IO[bytes]) -> bool:
        return self._store.put_new(self._bucket, self._prefix + name, file, BINARY)

    def chunks(self, name: str) -> Iterator[bytes]:
        with self._store.open(self._bucket, self._prefix + name) as stream:
            yield from stream.chunks()

    def names(self, folder: str) -> Iterator[str]:
        for info in self._store.list(self._bucket, f"{self._prefix}{folder}/"):
            yield info.key.removeprefix(self._prefix)

    def delete(self, name: str) -> None:
        key = self._prefix + name
        for info in self._store.every_version(self._bucket, key):
            if info.key == key:
                self._store.delete(self._bucket, key, info.version)

    def settle(self) -> None:
        pass

    def laxities(self) -> list[str]:
        """Tried on an entry of its own, which stays where it may not be deleted."""
        key = f"{self._prefix}{PROBES}/{uuid4().hex}"
        self._store.put_new(self._bucket, key, b"first", BINARY)
        found = []
        if self._may(lambda: self._store.put(self._bucket, key, b"second", BINARY)):
            found.append(f"the backup account may write over what lies in {self.place}")
        if self._may(lambda: self._store.delete(self._bucket, key)):
            found.append(f"the backup account may delete what lies in {self.place}")
        return found

    def _may(self, act: object) -> bool:
        assert callable(act)
        try:
            act()
        except (PermanentError, StorageUnavailable):
            return False
        return True


def _bucket_vault(settings: Settings, url: str) -> BucketVault:
    bucket, _, prefix = url.removeprefix(S3).strip("/").partition("/")
    own = [
        settings.bucket_uploads,
        settings.bucket_results,
        settings.bucket_quarantine,
        settings.bucket_archive,
        settings.bucket_access,
    ]
    if not bucket or bucket in own:
        raise SettingsError(
            f"DARKROOM_BACKUP_URL: {url} must name a bucket of its own, as s3://bucket/prefix"
        )
    return BucketVault(S3Store(account(settings)), bucket, prefix)


def account(settings: Settings) -> Settings:
    """These settings with the store and the keys of an s3:// backup as its own."""
    changed: dict[str, str | SecretStr] = {}
    for name in ("endpoint_url", "access_key", "secret_key"):
        given = getattr(settings, f"backup_s3_{name}")
        if given and given != SecretStr(""):
            changed[f"s3_{name}"] = given
    return settings.model_copy(update=changed)
