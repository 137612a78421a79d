"""An installation's own workflow files: from the operator's files into the results
bucket, where handlers and workers read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared import models, workflows
from shared.errors import Code, PermanentError
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger
from shared.s3.store import ObjectStore, S3Store
from shared.uploads import keys
from shared.workflows import OwnWorkflow, own


def files(paths: Sequence[Path]) -> list[Path]:
    """These files, and the `*.json` of these folders.

    Raises `PermanentError(bad_document)` for a folder that has none.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not inside:
            detail = f"{path}: no file in this folder has a name that ends in .json"
            raise PermanentError(Code.BAD_DOCUMENT, detail)
        found += inside
    return found


def read(file: Path) -> OwnWorkflow:
    """The workflow in a file. Raises `PermanentError(bad_document)` with the file and
    the rule that it breaks.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        detail = f"{file}: it cannot be read: {error.strerror}"
        raise PermanentError(Code.BAD_DOCUMENT, detail) from None
    found = own.named(data, str(file))
    fault = workflows.fault_of(found)
    if fault is not None:
        raise PermanentError(Code.BAD_DOCUMENT, f"{file}: {fault}")
    return found


def add(store: ObjectStore, bucket: str, found: OwnWorkflow, file: Path) -> str:
    """Add the workflow `found` in `file`; returns what became of it.

    Raises `PermanentError(bad_document)` where that version is there already, and is
    another one.
    """
    workflow = found.workflow
    called = f"{workflow.name} {workflow.version}"
    place = keys.own_workflow(workflow.name, workflow.version)
    data = file.read_bytes()
    if store.put_new(bucket, place, data, "application/json"):
        return f"{called} was added: {bucket}/{place}"
    if store.read(bucket, place) == data:
        return f"{called} is there already"
    detail = f"{file}: {called} is there already, and another one; raise `version` in the file"
    raise PermanentError(Code.BAD_DOCUMENT, detail)


def add_folder(settings: Settings, store: ObjectStore | None = None) -> list[str]:
    """Add the files of `DARKROOM_WORKFLOWS_DIR`; returns what became of each.

    A file that breaks a rule costs only itself: that is logged, and the others are
    added. Raises `StorageUnavailable`.
    """
    folder = settings.workflows_dir
    if folder is None:
        return []
    models.use_local(settings.models_dir)
    store = store or S3Store(settings)
    try:
        found = files([folder])
    except PermanentError as error:
        return [_refused(error)]
    return [_added(store, settings.bucket_results, file) for file in found]


def _added(store: ObjectStore, bucket: str, file: Path) -> str:
    try:
        return add(store, bucket, read(file), file)
    except PermanentError as error:
        return _refused(error)


def _refused(error: PermanentError) -> str:
    logger().warning("workflow.refused", detail=error.detail)
    return f"not added: {error.detail}"
