"""What the workers can do, by what they announced: so that a photo is refused before it
is sent, not after.

Each worker leaves a document in the results bucket, `workers/{kind}-{host}.json`, when
it starts and when that changes (a model was pulled). `kind` is derived from what it
says, `host` from where it is installed: workers that can do the same are read once,
however many there are, and one that changed takes the place of what it said before. The
documents stay while no worker runs. One that was not renewed for `STALE` counts only
while there is none that is younger.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from time import monotonic

from shared.errors import Code, NotFound, PermanentError, StorageUnavailable
from shared.runtime.settings import StoreSettings
from shared.runtime.telemetry import logger
from shared.s3.store import ObjectInfo, ObjectStore
from shared.uploads import keys
from shared.uploads.documents import Document, Part
from shared.uploads.identity import canonical_json
from shared.workflows import ResolvedWorkflow

STALE = timedelta(days=7)
KNOWN_FOR_S = 10.0
MOST = 50
"""Kinds of workers that are looked at, the latest first."""


class Lack(Part):
    """Why something cannot be done, and the command that makes it possible: ends of a
    sentence, without their dot.
    """

    because: str
    command: str


class Ability(Part):
    """What stands between a worker and one model; nothing: it can run it. `sha256`: of
    the weights that it means.
    """

    sha256: str
    lacks: tuple[Lack, ...] = ()


class Announcement(Document):
    """`workers/{kind}-{host}.json`: what workers of one kind can do."""

    host: str
    release: str
    engine: str
    steps: dict[str, tuple[Lack, ...]]
    models: dict[str, Ability]

    @property
    def kind(self) -> str:
        """Sixteen digits of all that it says, but for who says it."""
        return hashlib.sha256(
            canonical_json(self.model_dump(mode="json", exclude={"host"}))
        ).hexdigest()[:16]

    def place(self) -> str:
        return keys.worker(self.kind, self.host)

    def lacks(self, workflow: ResolvedWorkflow) -> list[Lack]:
        """What such a worker lacks for this very workflow, its models included;
        nothing: it can run it.
        """
        found: list[Lack] = []
        for step in workflow.steps:
            other = Lack(
                because=f"release {self.release} has no step {step.kind}",
                command="run newer workers",
            )
            found += self.steps.get(step.kind, (other,))
            if step.model is not None:
                ability, name = self.models.get(step.model.name), step.model.name
                unknown = Lack(
                    because=f"the workers know no such model as {name}",
                    command=_adding(name),
                )
                found += (
                    ability.lacks
                    if ability and ability.sha256 == step.model.sha256
                    else (unknown,)
                )
        return list(dict.fromkeys(found))


def _adding(name: str) -> str:
    return f"run `darkroom models add FILE --name {name}` where they run"


def together(lacks: Sequence[Lack]) -> Lack:
    """Several as one: all of it has to be done."""
    because = dict.fromkeys(lack.because for lack in lacks)
    commands = dict.fromkeys(lack.command for lack in lacks)
    return Lack(because=", ".join(because), command=", then ".join(commands))


def sentence(workflow: ResolvedWorkflow, lack: Lack) -> str:
    return f"no worker can run {workflow.ref.name!r}: {lack.because}; {lack.command}"


class Offers:
    """What the workers announced, remembered for `KNOWN_FOR_S`. Thread-safe; one thread
    asks, the others go on.

    What is not known counts as available: nothing was announced yet, or the store is
    away.
    """

    def __init__(self, store: ObjectStore, settings: StoreSettings) -> None:
        self._store, self._bucket = store, settings.bucket_results
        self._asking = threading.Lock()
        self._asked_s: float | None = None
        self._known: dict[str, Announcement] = {}  # by kind, the latest first

    @property
    def is_fresh(self) -> bool:
        """Whether an answer needs no look at the store."""
        return self._asked_s is not None and monotonic() - self._asked_s < KNOWN_FOR_S

    @property
    def known(self) -> bool:
        """Whether any worker has said anything, by the last look."""
        return bool(self._known)

    def lack(self, workflow: ResolvedWorkflow) -> Lack | None:
        """What is missing where it is missing least; None: some worker can run it, or
        nobody knows.
        """
        self.refresh()
        each = [announced.lacks(workflow) for announced in self._known.values()]
        return together(min(each, key=len)) if each and all(each) else None

    def check(self, workflow: ResolvedWorkflow) -> None:
        """Raises `PermanentError(workflow_unavailable)` with the command that makes it
        available.
        """
        if lack := self.lack(workflow):
            raise PermanentError(Code.WORKFLOW_UNAVAILABLE, sentence(workflow, lack))

    def refresh(self) -> None:
        """Ask the store, unless that was done a moment ago. Its troubles change nothing
        of what is known.
        """
        if self.is_fresh or not self._asking.acquire(blocking=False):
            return
        try:
            with suppress(StorageUnavailable):
                self._look()
        finally:
            self._asked_s = monotonic()
            self._asking.release()

    def _look(self) -> None:
        found: dict[str, Announcement] = {}
        for info in _latest(self._store.list(self._bucket, keys.WORKERS)):
            kind = keys.kind_of_worker(info.key)
            if announced := self._known.get(kind) or self._read(info):
                found[kind] = announced
        self._known = found

    def _read(self, info: ObjectInfo) -> Announcement | None:
        try:
            return Announcement.from_bytes(
                self._store.read(info.bucket, info.key), info.key
            )
        except NotFound:
            return None
        # of a later release, or damaged: its worker writes it again
        except PermanentError as error:
            logger().warning("worker.unknown", document=info.key, detail=error.detail)
            return None


def _latest(listed: Iterable[ObjectInfo]) -> list[ObjectInfo]:
    """The youngest document of each kind, youngest first, without the stale."""
    youngest: dict[str, ObjectInfo] = {}
    for info in sorted(listed, key=lambda info: info.last_modified):
        youngest[keys.kind_of_worker(info.key)] = info
    kinds = sorted(youngest.values(), key=lambda info: info.last_modified, reverse=True)
    return [
        info for info in kinds if info.last_modified > kinds[0].last_modified - STALE
    ][:MOST]
