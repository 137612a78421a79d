"""Are the content credentials of an export, or of one file, whole?"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from infra.ingest import inventory
from infra.ingest.members import ItemFault, Member
from infra.ingest.sources import read
from shared.credentials import confined
from shared.credentials.channel import NO_CREDENTIALS
from shared.credentials.confined import MOST_MANIFEST_BYTES, CredentialFault, Reading
from shared.credentials.places import EMBEDDED, LIST, SUFFIX, media_type
from shared.errors import Code, SettingsError
from shared.runtime.installation import how_to_add, missing_library

LIBRARY, EXTRA = "c2pa", "c2pa"
EXPIRED = "signingCredential.expired"
_FOLDERS = ("data/metadata/", "metadata/", "")


class Signatures:
    """The signed files of one source, and what is found of them.

    `by`: signer → number of valid signatures. `sidecars`: an empty file, in which they
    are kept from the first pass to the second.
    """

    def __init__(self, roots: str, sidecars: IO[bytes]) -> None:
        self.by: Counter[str] = Counter()
        self._roots = roots
        self._listed: dict[str, str] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._sidecars = sidecars

    def note(self, member: Member) -> None:
        """Look at a file in the first pass: a list of what is signed, or a sidecar."""
        if member.path.endswith(SUFFIX):
            data = read(member, MOST_MANIFEST_BYTES)
            self._places[member.path] = (self._sidecars.tell(), len(data))
            self._sidecars.write(data)
        for folder in _FOLDERS:
            if f"/{member.path}".endswith(f"/{folder}{LIST}"):
                base = member.path.removesuffix(f"{folder}{LIST}")
                self._listed |= dict(_rows(member, base))
                return

    def __contains__(self, path: str) -> bool:
        return path in self._listed

    def faults(self) -> Iterator[ItemFault]:
        """What can be said of all of them at once."""
        if self._listed and find_spec(LIBRARY) is None:
            yield _fault(
                f"{len(self._listed):,} files are signed, and nothing here reads that; {how_to_add(EXTRA)}"
            )
            self._listed = {}

    def check(self, path: str, body: IO[bytes]) -> None:
        """Compare a signed file with its credentials. Raises `ItemFault`."""
        place = self._listed[path]
        if place == EMBEDDED:
            self.by[signer_of(path, body, None, self._roots)] += 1
            return
        if place not in self._places:
            raise _fault(f"{path!r}: its content credentials {place!r} are not there")
        start, size = self._places[place]
        with TemporaryFile() as manifest:
            self._sidecars.seek(start)
            manifest.write(self._sidecars.read(size))
            manifest.flush()
            self.by[signer_of(path, body, manifest, self._roots)] += 1


def signer_of(
    path: str, body: IO[bytes], manifest: IO[bytes] | None, roots: str
) -> str:
    """Who signed a file, by the credentials in it or by its sidecar. Raises `ItemFault`
    where that does not hold.
    """
    try:
        found = confined.read(body, media_type(path), manifest, roots)
    except CredentialFault as fault:
        if fault.detail.startswith(NO_CREDENTIALS):
            raise _fault(f"{path!r} has no content credentials") from fault
        raise _fault(
            f"{path!r}: its content credentials cannot be read: {fault.detail}"
        ) from fault
    if not found.is_valid:
        raise _fault(f"{path!r}: {_why(found)}")
    return _signer(found)


def of_file(place: Path, roots: str = "") -> str:
    """Who signed one picture, by the credentials in it or in `NAME.c2pa` beside it.

    Raises `SettingsError` where nothing here reads them, `ItemFault` where there are
    none, or they do not hold.
    """
    if find_spec(LIBRARY) is None:
        raise missing_library(LIBRARY, EXTRA, "reading content credentials")
    sidecar = place.with_name(f"{place.name}{SUFFIX}")
    with place.open("rb") as body:
        if not sidecar.is_file():
            return signer_of(place.name, body, None, roots)
        with sidecar.open("rb") as manifest:
            return signer_of(place.name, body, manifest, roots)


def _rows(member: Member, base: str) -> Iterator[tuple[str, str]]:
    text = read(member, inventory.MOST_LIST_BYTES).decode("utf-8", "replace")
    for row in csv.DictReader(io.StringIO(text, newline="")):
        file, place = row.get("file"), row.get("credentials")
        if not file or not place:
            raise SettingsError(
                f"{member.path}: a row without file or credentials; export again"
            )
        yield base + file, place if place == EMBEDDED else base + place


def _signer(found: Reading) -> str:
    name = found.name or "somebody without a name"
    by = f"{name} ({found.issuer})" if found.issuer else name
    trust = "" if found.state == "Trusted" else ", whose root was not named by --roots"
    return f"{by}{trust}"


def _why(found: Reading) -> str:
    if EXPIRED in found.failures:
        return (
            "the certificate of its signature has ended, and no time stamp says that it was signed before"
            f" ({EXPIRED})"
        )
    codes = ", ".join(found.failures) or found.state
    return f"it is not what was signed ({codes})"


def _fault(detail: str) -> ItemFault:
    return ItemFault(Code.BAD_CREDENTIALS, detail)
