"""What this worker can do, found out without loading anything: what it announces, and
what it refuses.
"""

from __future__ import annotations

import hashlib
import importlib.util
import socket
import sys

from gpu_worker import models
from gpu_worker.engines import Engine
from gpu_worker.steps import KINDS
from shared import __version__
from shared.errors import Code, Missing, PermanentError
from shared.models import Model, registry, use_local
from shared.offers import Ability, Announcement, Lack, together
from shared.runtime.installation import how_to_add
from shared.runtime.settings import Settings
from shared.uploads.identity import canonical_json
from shared.workflows import ResolvedWorkflow

NEEDS = {"colorize": "cv2", "faces": "cv2"}
"""Packages of the extra `torch` that a step imports itself."""


def survey(engine: Engine, settings: Settings) -> Announcement:
    """What there is at this moment; model files that are new, or have changed, are
    verified.

    Raises `SettingsError` where the list of added models cannot be read.
    """
    use_local(settings.models_dir)
    return Announcement(
        host=_host(settings),
        release=__version__,
        engine=engine.name,
        steps={kind: tuple(_of_step(kind)) for kind in KINDS},
        models={
            name: Ability(
                sha256=model.sha256,
                lacks=(*_of_engine(engine, model), *_of_files(model, settings)),
            )
            for name, model in sorted(registry().items())
        },
    )


def check(workflow: ResolvedWorkflow, engine: Engine, settings: Settings) -> None:
    """Raises `Missing` with all that this worker lacks for `workflow`. What is there is
    verified when it is loaded.
    """
    lacks: list[Lack] = []
    for step in workflow.steps:
        lacks += _of_step(step.kind)
        if step.model is not None:
            lacks += _of_engine(engine, step.model)
            lacks += (
                [] if models.is_present(step.model, settings) else [_absent(step.model)]
            )
    if lacks:
        whole = together(lacks)
        raise Missing(
            f"this worker cannot run {workflow.ref.name!r}: {whole.because}",
            whole.command,
        )


def _of_step(kind: str) -> list[Lack]:
    package = NEEDS.get(kind)
    if package is None or importlib.util.find_spec(package):
        return []
    return [
        Lack(
            because=f"step {kind} needs the package {package}",
            command=how_to_add("torch"),
        )
    ]


def _of_engine(engine: Engine, model: Model) -> list[Lack]:
    try:
        engine.check(model)
    except Missing as missing:
        return [Lack(because=missing.because, command=missing.command)]
    return []


def _of_files(model: Model, settings: Settings) -> list[Lack]:
    if not models.is_present(model, settings):
        return [_absent(model)]
    try:
        models.verify(model, settings)
    except PermanentError as error:
        if error.code != Code.MODEL_CORRUPT:  # gone between the two looks
            return [_absent(model)]
        return [
            Lack(
                because=f"model {model.name} is damaged on the worker's machine",
                command=models.way_out(model),
            )
        ]
    return []


def _absent(model: Model) -> Lack:
    return Lack(
        because=f"model {model.name} is not on the worker's machine",
        command=models.way_out(model),
    )


def _host(settings: Settings) -> str:
    """The same for every worker of this installation with these settings, and nobody's
    who is not one of them.
    """
    where = [
        socket.gethostname(),
        sys.prefix,
        str(models.folder(settings).absolute()),
        settings.engine,
    ]
    return hashlib.sha256(canonical_json(where)).hexdigest()[:16]
