"""What the workers can do, as they announced it, so that a photo can be refused before
it is sent.

Each worker writes a document into the results bucket, `workers/{kind}-{host}.json`,
when it starts and when its abilities change (a model was pulled). `kind` is derived
from the abilities, `host` from where the worker is installed: workers with the same
abilities are read once, however many there are, and a worker that changes replaces its
own document. The documents stay while no worker runs. One that was not renewed for
`STALE` counts only while there is none that is younger.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from time import monotonic

from shared.errors import Code, NotFound, PermanentError, StorageUnavailable
from shared.models import Model
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
"""Kinds of workers that are read, the latest first."""


OWN_WORKFLOWS = "own-workflows"
"""What a worker announces beside its kinds of steps, where it reads the installation's
own workflow files: a release that reads none announces none.
"""


class Lack(Part):
    """Why something cannot be done, and the command that makes it possible.

    Both are ends of a sentence, without the dot.
    """

    because: str
    command: str


class Ability(Part):
    """What a worker lacks to run one model, if anything.

    `sha256`: checksum of the weights that it would run.
    """

    sha256: str
    lacks: tuple[Lack, ...] = ()


class Announcement(Document):
    """`workers/{kind}-{host}.json`: what workers of one kind can do. `device`: what the
    one that wrote it computes on; empty: it did not say.
    """

    host: str
    release: str
    engine: str
    device: str = ""
    steps: dict[str, tuple[Lack, ...]]
    models: dict[str, Ability]

    @property
    def kind(self) -> str:
        """Sixteen digits that identify the abilities: everything in the document but
        where they are.
        """
        elsewhere = {"host", "device"}
        abilities = canonical_json(self.model_dump(mode="json", exclude=elsewhere))
        return hashlib.sha256(abilities).hexdigest()[:16]

    def place(self) -> str:
        """Key of the document."""
        return keys.worker(self.kind, self.host)

    def lacks(self, workflow: ResolvedWorkflow) -> list[Lack]:
        """What such a worker lacks for this workflow and its models; empty if it can run
        it. An optional step is skipped where something lacks.
        """
        found: list[Lack] = []
        if workflow.is_own and OWN_WORKFLOWS not in self.steps:
            because = f"release {self.release} knows built-in workflows alone"
            found.append(Lack(because=because, command="run newer workers"))
        for step in workflow.steps:
            if step.optional:
                continue
            found += self._lacks_for_step(step.kind)
            for model in step.models:
                found += self._lacks_for_model(model)
        return list(dict.fromkeys(found))

    def _lacks_for_step(self, kind: str) -> Sequence[Lack]:
        known = self.steps.get(kind)
        if known is not None:
            return known
        because = f"release {self.release} has no step {kind}"
        return [Lack(because=because, command="run newer workers")]

    def _lacks_for_model(self, model: Model) -> Sequence[Lack]:
        ability = self.models.get(model.name)
        if ability and ability.sha256 == model.sha256:
            return ability.lacks
        because = f"the workers know no such model as {model.name}"
        command = f"run `darkroom models add FILE --name {model.name}` where they run"
        return [Lack(because=because, command=command)]


def together(lacks: Sequence[Lack]) -> Lack:
    """Several lacks as one, for which everything has to be done."""
    because = dict.fromkeys(lack.because for lack in lacks)
    commands = dict.fromkeys(lack.command for lack in lacks)
    return Lack(because=", ".join(because), command=", then ".join(commands))


def sentence(workflow: ResolvedWorkflow, lack: Lack) -> str:
    """Why no worker can run the workflow, and the way out, as an error's sentence."""
    return f"no worker can run {workflow.ref.name!r}: {lack.because}; {lack.command}"


class Offers:
    """What the workers announced, cached for `KNOWN_FOR_S`.

    Thread-safe: one thread reads the store, the others use what is known. A workflow
    counts as available where nothing was announced yet, or the store is away.
    """

    def __init__(self, store: ObjectStore, settings: StoreSettings) -> None:
        self._store = store
        self._bucket = settings.bucket_results
        self._reading = threading.Lock()
        self._read_s: float | None = None
        # By kind, the latest first.
        self._known: dict[str, Announcement] = {}

    @property
    def is_fresh(self) -> bool:
        """Whether the store need not be read now."""
        return self._read_s is not None and monotonic() - self._read_s < KNOWN_FOR_S

    @property
    def known(self) -> bool:
        """Whether any worker had announced anything when the store was last read."""
        return bool(self._known)

    def lack(self, workflow: ResolvedWorkflow) -> Lack | None:
        """The fewest lacks that any kind of worker has. None: some worker can run the
        workflow, or nothing is known.
        """
        self.refresh()
        each = [announced.lacks(workflow) for announced in self._known.values()]
        if not each or not all(each):
            return None
        return together(min(each, key=len))

    def check(self, workflow: ResolvedWorkflow) -> None:
        """Raise `PermanentError(workflow_unavailable)` with the command that makes the
        workflow available, if it is not.
        """
        lack = self.lack(workflow)
        if lack is not None:
            raise PermanentError(Code.WORKFLOW_UNAVAILABLE, sentence(workflow, lack))

    def refresh(self) -> None:
        """Read the store, unless that was done a moment ago. Nothing changes while it is
        away.
        """
        if self.is_fresh or not self._reading.acquire(blocking=False):
            return
        try:
            with suppress(StorageUnavailable):
                self._known = self._read_all()
        finally:
            self._read_s = monotonic()
            self._reading.release()

    def _read_all(self) -> dict[str, Announcement]:
        found: dict[str, Announcement] = {}
        for info in _latest(self._store.list(self._bucket, keys.WORKERS)):
            kind = keys.kind_of_worker(info.key)
            announced = self._known.get(kind) or self._read(info)
            if announced is not None:
                found[kind] = announced
        return found

    def _read(self, info: ObjectInfo) -> Announcement | None:
        try:
            data = self._store.read(info.bucket, info.key)
            return Announcement.from_bytes(data, info.key)
        except NotFound:
            return None
        except PermanentError as error:
            # It is of a later release, or damaged: its worker writes it again.
            logger().warning("worker.unknown", document=info.key, detail=error.detail)
            return None


def _latest(listed: Iterable[ObjectInfo]) -> list[ObjectInfo]:
    """The youngest document of each kind, youngest first, without the stale."""
    youngest: dict[str, ObjectInfo] = {}
    for info in sorted(listed, key=_last_modified):
        youngest[keys.kind_of_worker(info.key)] = info
    documents = sorted(youngest.values(), key=_last_modified, reverse=True)
    if not documents:
        return []
    oldest = documents[0].last_modified - STALE
    fresh = [info for info in documents if info.last_modified > oldest]
    return fresh[:MOST]


def _last_modified(info: ObjectInfo) -> datetime:
    return info.last_modified
