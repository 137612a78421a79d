"""The installation's own workflows: files in the results bucket, which handlers and
workers read alike.

`workflows/own/{name}.{version}.json` has the form of a built-in workflow. A version
never changes once it is there, and stays when the next one comes, so that photos which
wait for the earlier one are restored by it. `workflows/composed/…` holds the steps that
single requests asked for, under a name derived from them.

The signature of such a workflow covers the SHA-256 of its file: a file that was altered
in its place makes other tasks, and no worker does a waiting task by it.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import ValidationError

from shared.errors import Code, NotFound, PermanentError
from shared.s3.objects import ObjectInfo
from shared.uploads import keys
from shared.workflows import limits
from shared.workflows.schema import Workflow

if TYPE_CHECKING:
    # The decoder's process imports workflows, and has no client of the store.
    from shared.s3.store import ObjectStore

KNOWN_FOR_S = 10.0
MOST_BYTES = 64 << 10
"""Largest workflow file."""
MOST_FILES = 500
"""Most files that are looked at: all versions of all workflows."""

_used: list[Shelf] = []
_PLACE = re.compile(r"([a-z][a-z0-9-]{0,39})\.([1-9][0-9]{0,5})\.json")


@dataclass(frozen=True)
class OwnWorkflow:
    """A workflow with the checksum of its file."""

    workflow: Workflow
    sha256: str


def named(data: bytes, where: str) -> OwnWorkflow:
    """Read a workflow file that people name. Raises as `parsed`."""
    found = parsed(data, where)
    if found.workflow.name.startswith(limits.COMPOSED):
        raise _bad(where, f"{limits.COMPOSED}… are the names of what requests compose")
    return found


def parsed(data: bytes, where: str) -> OwnWorkflow:
    """Read a workflow file. Raises `PermanentError(bad_document)` with `where` and the
    rule that the file breaks.
    """
    if len(data) > MOST_BYTES:
        raise _bad(where, f"it has more bytes than the {MOST_BYTES:,} that are allowed")
    try:
        workflow = Workflow.model_validate_json(data)
        limits.check(workflow)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "file"
        raise _bad(where, f"{place}: {first['msg']}") from None
    except PermanentError as error:
        raise _bad(where, error.detail) from None
    except ValueError as error:
        raise _bad(where, str(error)) from None
    return OwnWorkflow(workflow, hashlib.sha256(data).hexdigest())


def _bad(where: str, detail: str) -> PermanentError:
    return PermanentError(Code.BAD_DOCUMENT, f"{where}: {detail}")


@dataclass
class _Known:
    """What the bucket held when it was last listed."""

    at_s: float = float("-inf")
    latest: dict[str, OwnWorkflow] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


class Shelf:
    """The workflow files of one installation, read from its store. Thread-safe.

    `version`, `latest` and `all` raise `StorageUnavailable`.
    """

    def __init__(
        self,
        store: ObjectStore,
        bucket: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._bucket = bucket
        self._monotonic = monotonic
        self._listing = threading.Lock()
        self._known = _Known()
        self._read: dict[tuple[str, str], OwnWorkflow | str] = {}
        self._versions: dict[str, OwnWorkflow] = {}

    def version(self, name: str, version: int) -> OwnWorkflow | None:
        """One version, which is read once. None: there is none.

        Raises `PermanentError(bad_document)` where its file is broken.
        """
        place = _place(name, version)
        found = self._versions.get(place)
        if found is None:
            try:
                found = _placed(self._store.read(self._bucket, place), place)
            except NotFound:
                return None
            if len(self._versions) >= MOST_FILES:
                self._versions.clear()
            self._versions[place] = found
        return found

    def latest(self, name: str) -> OwnWorkflow | None:
        """The latest version that can be read; None: there is none."""
        if name.startswith(limits.COMPOSED):
            return self.version(name, 1)
        if not limits.NAME.fullmatch(name):
            return None
        return self.all().get(name) or self._listed().latest.get(name)

    def all(self) -> dict[str, OwnWorkflow]:
        """The latest version of each by name, as of `KNOWN_FOR_S` ago at most."""
        if self._monotonic() - self._known.at_s < KNOWN_FOR_S:
            return self._known.latest
        return self._listed().latest

    @property
    def known(self) -> dict[str, OwnWorkflow]:
        """What `all` gave last, without a look at the store."""
        return self._known.latest

    @property
    def faults(self) -> dict[str, str]:
        """Why files cannot be used, by their keys, as far as they were looked at."""
        return dict(self._known.faults)

    def _listed(self) -> _Known:
        with self._listing:
            known = _Known(self._monotonic())
            files = self._files(known)
            for name, versions in files.items():
                for info in (versions[number] for number in sorted(versions)[::-1]):
                    found = self._parsed(info)
                    if isinstance(found, OwnWorkflow):
                        known.latest[name] = found
                        break
                    known.faults[info.key] = found
            self._known = known
            return known

    def _files(self, known: _Known) -> dict[str, dict[int, ObjectInfo]]:
        files: dict[str, dict[int, ObjectInfo]] = {}
        listed = self._store.list(self._bucket, keys.OWN_WORKFLOWS)
        for count, info in enumerate(listed):
            if count == MOST_FILES:
                known.faults[keys.OWN_WORKFLOWS] = (
                    f"there are more than {MOST_FILES} files, of which the others are not read; delete old versions"
                )
                break
            named = _PLACE.fullmatch(info.key.removeprefix(keys.OWN_WORKFLOWS))
            if named is None:
                known.faults[info.key] = (
                    f"{info.key}: it is not named NAME.VERSION.json"
                )
                continue
            files.setdefault(named[1], {})[int(named[2])] = info
        return files

    def _parsed(self, info: ObjectInfo) -> OwnWorkflow | str:
        """The workflow in a file, or its fault. A file is read again once it changes."""
        version = (info.key, info.etag)
        if version not in self._read:
            self._read[version] = self._parsed_anew(info)
        return self._read[version]

    def _parsed_anew(self, info: ObjectInfo) -> OwnWorkflow | str:
        if info.bytes > MOST_BYTES:
            return (
                f"{info.key}: it has {info.bytes:,} bytes, {MOST_BYTES:,} are allowed"
            )
        try:
            return _placed(self._store.read(self._bucket, info.key), info.key)
        except PermanentError as error:
            return error.detail


def shelf() -> Shelf | None:
    """The workflow files that this process uses; None: it uses the built-in ones alone."""
    return _used[0] if _used else None


def use(found: Shelf | None) -> None:
    """From now on this process knows the workflows of `found`, beside the built-in ones."""
    _used[:] = [found] if found else []


def _place(name: str, version: int) -> str:
    if name.startswith(limits.COMPOSED):
        return keys.composed_workflow(name, version)
    return keys.own_workflow(name, version)


def _placed(data: bytes, place: str) -> OwnWorkflow:
    """The workflow in the file at `place`, where it belongs there."""
    found = parsed(data, place)
    workflow = found.workflow
    belongs = _place(workflow.name, workflow.version)
    if belongs != place:
        raise _bad(place, f"it is {workflow.name} {workflow.version}, of {belongs}")
    return found
