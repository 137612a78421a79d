"""An installation's own workflow files: from the operator's files into the results
bucket, where handlers and workers read them.
"""

from __future__ import annotations

import hashlib
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

    Raises `PermanentError(bad_document)` for a folder that has none, and for more files
    than an installation reads.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not inside:
            detail = f"{path}: no file in this folder has a name that ends in .json"
            raise PermanentError(Code.BAD_DOCUMENT, detail)
        found += inside
    if len(found) > own.MOST_FILES:
        detail = f"{len(found):,} workflow files, and an installation reads {own.MOST_FILES} of its own; none was added"
        raise PermanentError(Code.BAD_DOCUMENT, detail)
    return found


def read(file: Path) -> OwnWorkflow:
    """The workflow in a file. Raises `PermanentError(bad_document)` with the file and
    the rule that it breaks.
    """
    found = own.named(_bytes_of(file), str(file))
    fault = workflows.fault_of(found)
    if fault is not None:
        raise PermanentError(Code.BAD_DOCUMENT, f"{file}: {fault}")
    return found


def _bytes_of(file: Path) -> bytes:
    """The start of a file, as far as it may be a workflow; of a pipe or a device nothing
    is read, which may never end.
    """
    try:
        if not file.is_file() and file.exists():
            detail = f"{file}: it is no plain file"
            raise PermanentError(Code.BAD_DOCUMENT, detail)
        with file.open("rb") as opened:
            return opened.read(own.MOST_BYTES + 1)
    except OSError as error:
        detail = f"{file}: it cannot be read: {error.strerror}"
        raise PermanentError(Code.BAD_DOCUMENT, detail) from None


def add(store: ObjectStore, bucket: str, found: OwnWorkflow, file: Path) -> str:
    """Add the workflow `found` in `file`; returns what became of it.

    Raises `PermanentError(bad_document)` where that version is there already, and is
    another one, and where the file is not the one that was read.
    """
    workflow = found.workflow
    called = f"{workflow.name} {workflow.version}"
    place = keys.own_workflow(workflow.name, workflow.version)
    data = _bytes_of(file)
    if hashlib.sha256(data).hexdigest() != found.sha256:
        detail = f"{file}: it was changed after it had been checked; add it again"
        raise PermanentError(Code.BAD_DOCUMENT, detail)
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
