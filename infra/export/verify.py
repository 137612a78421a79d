"""Does an export, or any bag, hold what its own lists say?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from tempfile import TemporaryFile

from infra.export.signatures import Signatures
from infra.ingest import checksums, inventory
from infra.ingest import photo as photos
from infra.ingest.members import ItemFault, Member, Refused
from infra.ingest.sources import Source, read
from shared.errors import Code, SettingsError

ANY_SIZE = 1 << 62


@dataclass(frozen=True)
class Verified:
    """How many files were compared, and what is wrong. `signers`: who made how many
    valid signatures.
    """

    files: int
    faults: list[ItemFault]
    signers: Counter[str] = field(default_factory=Counter)


def verified(source: Source, roots: str = "") -> Verified:
    """Compare every file that a list names, and every signature that is listed;
    `roots`: certificates that are trusted, in PEM. Raises `SettingsError` where no list
    of checksums is there, or a list cannot be read.
    """
    with TemporaryFile() as sidecars:
        return _verified(source, Signatures(roots, sidecars))


def _verified(source: Source, signatures: Signatures) -> Verified:
    lists = _lists(source, signatures)
    if not lists:
        raise SettingsError(
            f"{source.name} has no list of checksums: neither a bag's manifests nor "
            "*.sha256, *.sha512, *.sha1 or *.md5"
        )
    seen: set[str] = set()
    faults = list(signatures.faults())
    for found in source.members():
        seen.add(found.path)
        faults += _faults_of(found, lists, signatures)
    missing = (path for path in lists if path not in seen)
    faults += [_missing(path) for path in missing]
    return Verified(len(lists), faults, signatures.by)


def _lists(source: Source, signatures: Signatures) -> dict[str, checksums.Checksum]:
    """Path → the longest checksum that any list has of it."""
    found: dict[str, checksums.Checksum] = {}
    for member in source.members():
        if isinstance(member, Refused):
            continue
        signatures.note(member)
        if inventory.is_list(member.path):
            for path, checksum in _of_list(member):
                known = found.get(path)
                if known is None or len(checksum.digest) > len(known.digest):
                    found[path] = checksum
    return found


def _of_list(member: Member) -> Iterator[tuple[str, checksums.Checksum]]:
    text = read(member, inventory.MOST_LIST_BYTES).decode("utf-8", "replace")
    base = inventory.base_of_list(member.path)
    for path, checksum in checksums.parse(text, member.path).items():
        yield base + path.removeprefix("../"), checksum


def _faults_of(
    found: Member | Refused,
    lists: dict[str, checksums.Checksum],
    signatures: Signatures,
) -> Iterator[ItemFault]:
    if isinstance(found, Refused):
        yield found.fault
    elif found.path in lists:
        try:
            with photos.read(found, lists[found.path], ANY_SIZE).body as body:
                if found.path in signatures:
                    signatures.check(found.path, body)
        except ItemFault as fault:
            yield fault


def _missing(path: str) -> ItemFault:
    return ItemFault(Code.MISSING_IN_SOURCE, f"{path!r} is listed and is not there")
