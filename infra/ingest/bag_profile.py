"""Bags held against a BagIt profile: what their receiver asks of them beyond their
standard. https://bagit-profiles.github.io/bagit-profiles-specification/

A profile is a local file. Its identifier looks like an address, and nothing is fetched
from there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra.ingest.inventory import BAG
from infra.ingest.members import ItemFault, Member, Refused
from infra.ingest.sources import Source, read
from shared.errors import Code, SettingsError

MOST_TAG_BYTES = 1 << 20
MOST_TAG_FILES = 2_000
MOST_TAGS_BYTES = 64 << 20
"""Of all bags of a source together."""
INFO = "bag-info.txt"
PAYLOAD = "data/"
IDENTIFIER = "BagIt-Profile-Identifier"
MEDIA_TYPES = {
    ".zip": {"application/zip", "application/x-zip-compressed"},
    ".tar": {"application/x-tar", "application/tar"},
    ".tgz": {"application/gzip", "application/x-gzip", "application/tar+gzip"},
    ".tar.gz": {"application/gzip", "application/x-gzip", "application/tar+gzip"},
    ".tar.bz2": {"application/x-bzip2", "application/bzip2"},
    ".tar.xz": {"application/x-xz"},
}
"""The end of an archive's name → what profiles call it."""
_OF_THE_STANDARD = (BAG, INFO, "fetch.txt", "manifest-*.txt", "tagmanifest-*.txt")
_RULES = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

Names = tuple[str, ...]
Allowed = Names | None
"""None: everything is."""


class Tag(BaseModel):
    """What a profile asks of one tag in `bag-info.txt`. `values`: the only ones."""

    model_config = _RULES

    required: bool = False
    recommended: bool = False
    repeatable: bool = True
    values: tuple[str, ...] = ()
    description: str = ""


class Profile(BaseModel):
    """A profile of version 1.4 or earlier. A rule that is not among these is an error:
    a check that checks nothing is worse than none.
    """

    model_config = _RULES

    about: dict[str, Any] = Field(alias="BagIt-Profile-Info")
    tags: dict[str, Tag] = Field({}, alias="Bag-Info")
    manifests_required: Names = Field((), alias="Manifests-Required")
    manifests_allowed: Allowed = Field(None, alias="Manifests-Allowed")
    tag_manifests_required: Names = Field((), alias="Tag-Manifests-Required")
    tag_manifests_allowed: Allowed = Field(None, alias="Tag-Manifests-Allowed")
    tag_files_required: Names = Field((), alias="Tag-Files-Required")
    tag_files_allowed: Allowed = Field(None, alias="Tag-Files-Allowed")
    payload_required: Names = Field((), alias="Payload-Files-Required")
    payload_allowed: Allowed = Field(None, alias="Payload-Files-Allowed")
    is_payload_empty: bool = Field(False, alias="Data-Empty")
    allows_fetch: bool = Field(True, alias="Allow-Fetch.txt")
    requires_fetch: bool = Field(False, alias="Fetch.txt-Required")
    serialization: Literal["forbidden", "required", "optional"] = Field(
        "optional", alias="Serialization"
    )
    media_types: Allowed = Field(None, alias="Accept-Serialization")
    versions: Allowed = Field(None, alias="Accept-BagIt-Version")

    @property
    def identifier(self) -> str:
        """What a bag says of itself that was packed by this profile."""
        return str(self.about.get(IDENTIFIER, ""))


@dataclass(frozen=True)
class _Bag:
    """`sizes`: of all files, by their paths in the bag. `declared`, `info`: the tags of
    `bagit.txt` and `bag-info.txt`, by their names in small letters.
    """

    base: str
    sizes: dict[str, int]
    declared: dict[str, list[str]]
    info: dict[str, list[str]]


Violation = tuple[str, str]
"""The path of a file, and the sentence about it."""


def parse(data: bytes, name: str) -> Profile:
    """Read a profile. `name`: its own, for the errors. Raises `SettingsError`."""
    try:
        found = Profile.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise SettingsError(
            f"{name} is no BagIt profile that can be checked: {place}: {first['msg']}"
        ) from error
    if not found.identifier:
        raise SettingsError(f"{name} is no BagIt profile: it has no {IDENTIFIER}")
    return found


def faults(profile: Profile, source: Source, place: str) -> list[Refused]:
    """Every rule that the bags of a source break. `place`: where the source lies, whose
    name says in what it is packed. Raises `SettingsError` for a source of too many bags.
    """
    bags = list(_bags(source))
    if not bags:
        return [_refused(BAG, f"it is no bag: it has no {BAG}")]
    name = place.rstrip("/").rpartition("/")[2]
    found = [_refused(name, text) for text in _of_packing(profile, place)]
    for bag in bags:
        for path, text in _violations(profile, bag):
            found.append(_refused(f"{bag.base}{path}", text))
    return found


def _refused(path: str, text: str) -> Refused:
    sentence = f"{path!r}: {text}"
    return Refused(path, ItemFault(Code.PROFILE_VIOLATION, sentence))


def _bags(source: Source) -> Iterator[_Bag]:
    """The bags of a source; what lies in the payload of one is no bag of its own. Raises
    `SettingsError` for too many.
    """
    sizes, texts = _read(source)
    paths = sorted(sizes)
    bases = [path.removesuffix(BAG) for path in texts if path.endswith(BAG)]
    taken: list[str] = []
    for base in sorted(bases, key=len):
        if any(base.startswith(f"{outer}{PAYLOAD}") for outer in taken):
            continue
        taken.append(base)
        yield _Bag(
            base,
            {path.removeprefix(base): sizes[path] for path in _below(base, paths)},
            _tags(texts[f"{base}{BAG}"]),
            _tags(texts.get(f"{base}{INFO}", "")),
        )


def _read(source: Source) -> tuple[dict[str, int], dict[str, str]]:
    """The sizes of all files, and the texts of those that describe bags, by their paths.

    Raises `SettingsError` for more of these than are held at a time.
    """
    sizes: dict[str, int] = {}
    texts: dict[str, str] = {}
    left = MOST_TAGS_BYTES
    for member in source.members():
        if isinstance(member, Refused):
            continue
        sizes[member.path] = member.size
        if member.path.rpartition("/")[2] in (BAG, INFO):
            texts[member.path] = _text(member)
            left -= len(texts[member.path])
        if left < 0 or len(texts) > MOST_TAG_FILES:
            raise SettingsError(
                f"{source.name} has more than {MOST_TAG_FILES:,} files named {BAG} or {INFO}, or more than"
                f" {MOST_TAGS_BYTES:,} characters in them; hold its bags against the profile in several runs"
            )
    return sizes, texts


def _below(base: str, paths: list[str]) -> Iterator[str]:
    """Those of the sorted paths that begin with `base`."""
    for path in islice(paths, bisect_left(paths, base), None):
        if not path.startswith(base):
            return
        yield path


def _text(member: Member) -> str:
    return read(member, MOST_TAG_BYTES).decode("utf-8-sig", "replace")


def _tags(text: str) -> dict[str, list[str]]:
    """Name → values; a line that begins with a blank goes on with the one before."""
    found: dict[str, list[str]] = {}
    values: list[str] = []
    for line in text.splitlines():
        if line[:1].isspace() and values:
            values[-1] = f"{values[-1]} {line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            values = found.setdefault(name.strip().lower(), [])
            values.append(value.strip())
    return found


def _of_packing(profile: Profile, place: str) -> Iterator[str]:
    endings = [end for end in MEDIA_TYPES if place.lower().endswith(end)]
    if not endings and profile.serialization == "required":
        yield "it is a folder, and the profile wants one file"
    if not endings:
        return
    if profile.serialization == "forbidden":
        yield "it is one file, and the profile wants a folder"
    accepted = profile.media_types
    if accepted is not None and not MEDIA_TYPES[endings[0]] & set(accepted):
        yield f"it is a {endings[0]}, and the profile takes {_listed(accepted)}"


def _violations(profile: Profile, bag: _Bag) -> Iterator[Violation]:
    yield from _of_version(profile, bag)
    yield from _of_info(profile, bag)
    yield from _of_manifests(
        "manifest", profile.manifests_required, profile.manifests_allowed, bag
    )
    yield from _of_manifests(
        "tagmanifest",
        profile.tag_manifests_required,
        profile.tag_manifests_allowed,
        bag,
    )
    yield from _of_files(profile, bag)
    yield from _of_payload(profile, bag)


def _of_version(profile: Profile, bag: _Bag) -> Iterator[Violation]:
    version = ", ".join(bag.declared.get("bagit-version", ["none"]))
    if profile.versions is not None and version not in profile.versions:
        wanted = _listed(profile.versions)
        yield BAG, f"BagIt-Version is {version}, and the profile takes {wanted}"


def _of_info(profile: Profile, bag: _Bag) -> Iterator[Violation]:
    if INFO not in bag.sizes:
        yield INFO, "it is not there"
        return
    claimed = bag.info.get(IDENTIFIER.lower(), [])
    if profile.identifier not in claimed:
        told = _listed(claimed) or "missing"
        yield INFO, f"{IDENTIFIER} is {told}, and the profile is {profile.identifier}"
    for name, rule in profile.tags.items():
        values = bag.info.get(name.lower(), [])
        if rule.required and not any(values):
            yield INFO, f"{name} is missing, and the profile requires it"
        if not rule.repeatable and len(values) > 1:
            yield INFO, f"{name} is there {len(values)} times, and may be once"
        for value in values if rule.values else []:
            if value not in rule.values:
                wanted = _listed(rule.values)
                yield INFO, f"{name} is {value!r}, and the profile takes {wanted}"


def _of_manifests(
    kind: str, required: Names, allowed: Allowed, bag: _Bag
) -> Iterator[Violation]:
    start, end = f"{kind}-", ".txt"
    present = [
        path.removeprefix(start).removesuffix(end)
        for path in bag.sizes
        if path.startswith(start) and path.endswith(end)
    ]
    for algorithm in required:
        if algorithm not in present:
            path = f"{start}{algorithm}{end}"
            yield path, "it is not there, and the profile requires it"
    for algorithm in present if allowed is not None else []:
        if algorithm not in (allowed or ()):
            path = f"{start}{algorithm}{end}"
            yield path, f"the profile takes {_listed(allowed or ())} only"


def _of_files(profile: Profile, bag: _Bag) -> Iterator[Violation]:
    if profile.requires_fetch:
        yield "fetch.txt", "the profile requires it, and nothing is fetched here"
    tag_files = [
        path
        for path in bag.sizes
        if not path.startswith(PAYLOAD) and not _matches(path, _OF_THE_STANDARD)
    ]
    yield from _of_paths(
        profile.tag_files_required, profile.tag_files_allowed, tag_files, bag
    )


def _of_payload(profile: Profile, bag: _Bag) -> Iterator[Violation]:
    payload = [path for path in bag.sizes if path.startswith(PAYLOAD)]
    is_empty = len(payload) < 2 and not any(bag.sizes[path] for path in payload)
    if profile.is_payload_empty and not is_empty:
        yield PAYLOAD, "the profile wants no payload"
    yield from _of_paths(
        profile.payload_required, profile.payload_allowed, payload, bag
    )


def _of_paths(
    required: Names, allowed: Allowed, present: Iterable[str], bag: _Bag
) -> Iterator[Violation]:
    for path in required:
        is_folder = path.endswith("/")
        is_there = path in bag.sizes
        if is_folder:
            is_there = any(each.startswith(path) for each in bag.sizes)
        if not is_there:
            yield path, "it is not there, and the profile requires it"
    for path in present if allowed is not None else []:
        if not _matches(path, allowed or ()):
            yield path, "the profile does not allow it"


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
