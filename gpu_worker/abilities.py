"""What this worker can do, found out without loading anything: what it announces, and
which workflows it refuses.
"""

from __future__ import annotations

import hashlib
import socket
import sys

from gpu_worker import models
from gpu_worker.engines import Engine
from gpu_worker.steps import KINDS
from shared import __version__
from shared.errors import Code, Missing, PermanentError
from shared.models import Model, registry, use_local
from shared.offers import OWN_WORKFLOWS, Ability, Announcement, Lack, together
from shared.runtime.settings import EngineSettings
from shared.uploads.identity import canonical_json
from shared.workflows import ResolvedStep, ResolvedWorkflow


def survey(engine: Engine, settings: EngineSettings) -> Announcement:
    """What this worker can do at this moment. Model files that are new or have changed
    are verified.

    Raises `SettingsError` where the list of added models cannot be read.
    """
    use_local(settings.models_dir)
    abilities = {}
    for name, model in sorted(registry().items()):
        lacks = (*_engine_lacks(engine, model), *_file_lacks(model, settings))
        abilities[name] = Ability(sha256=model.sha256, lacks=lacks)
    return Announcement(
        host=_host(settings),
        release=__version__,
        engine=engine.name,
        device=engine.device,
        steps=dict.fromkeys((*KINDS, OWN_WORKFLOWS), ()),
        models=abilities,
    )


def check(workflow: ResolvedWorkflow, engine: Engine, settings: EngineSettings) -> None:
    """Raises `Missing` with all that this worker lacks for `workflow`. Files that are
    there are verified later, when they are loaded. An optional step may lack anything.
    """
    lacks: list[Lack] = []
    for step in workflow.steps:
        if not step.optional:
            lacks += lacks_of(step, engine, settings)
    if lacks:
        whole = together(lacks)
        detail = f"this worker cannot run {workflow.ref.name!r}: {whole.because}"
        raise Missing(detail, whole.command)


def lacks_of(
    step: ResolvedStep, engine: Engine, settings: EngineSettings
) -> list[Lack]:
    """What this worker lacks for one step; empty if it can run it."""
    lacks: list[Lack] = []
    for model in step.models:
        lacks += _engine_lacks(engine, model)
        if not models.is_present(model, settings):
            lacks.append(_absent(model))
    return lacks


def _engine_lacks(engine: Engine, model: Model) -> list[Lack]:
    try:
        engine.check(model)
    except Missing as missing:
        return [Lack(because=missing.because, command=missing.command)]
    return []


def _file_lacks(model: Model, settings: EngineSettings) -> list[Lack]:
    if not models.is_present(model, settings):
        return [_absent(model)]
    try:
        models.verify(model, settings)
    except PermanentError as error:
        if error.code == Code.MODEL_CORRUPT:
            return [_damaged(model)]
        # The file was deleted after `is_present` had seen it.
        return [_absent(model)]
    return []


def _absent(model: Model) -> Lack:
    because = f"model {model.name} is not on the worker's machine"
    return Lack(because=because, command=models.way_out(model))


def _damaged(model: Model) -> Lack:
    because = f"model {model.name} is damaged on the worker's machine"
    return Lack(because=because, command=models.way_out(model))


def _host(settings: EngineSettings) -> str:
    """A name that all workers of this installation with these settings share, and no
    other worker has.
    """
    models_folder = models.folder(settings).absolute()
    where = [socket.gethostname(), sys.prefix, str(models_folder), settings.engine]
    digest = hashlib.sha256(canonical_json(where))
    return digest.hexdigest()[:16]
