"""Fetches model files: resumed where it broke off, verified before the name becomes
visible, never on a request.

Order of places: the folder of the setting `models_mirror` when it names one, the mirror
URL, the file's own URL.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import IO

import httpx
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TransferSpeedColumn,
)

from gpu_worker import models
from shared.errors import Code, NotFound, PermanentError, StorageUnavailable
from shared.models import Model, ModelFile
from shared.runtime.settings import Settings

TIMEOUT_S = 30.0


def pull(model: Model, settings: Settings, show: IO[str]) -> None:
    """Bring every file of `model` into the models folder; a file that is there and
    right is not fetched again.

    Raises `NotFound(model_missing)` when it has no source,
    `PermanentError(model_corrupt)` when what came is not the pinned file,
    `StorageUnavailable` when the source broke off: the same command then goes on from
    there.
    """
    for file in model.files:
        path = models.path_of(file, settings)
        if path is None or (file.package and not path.is_file()):
            # raises, naming the package to install
            models.locate(model, file.role, settings)
        elif not path.is_file() or models.sha256_of(path) != file.sha256:
            _fetch(model, file, path, settings, show)


def _fetch(
    model: Model, file: ModelFile, path: Path, settings: Settings, show: IO[str]
) -> None:
    if file.package:
        # raises: a package is repaired by its installer, not by us
        models.verify(model, settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    source = _source(model, file, settings)
    if isinstance(source, Path):
        shutil.copyfile(source, part)
    else:
        _download(source, part, file, show)
    with part.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != file.sha256:
        part.unlink()
        raise PermanentError(
            Code.MODEL_CORRUPT,
            f"model {model.name}: {source} gave SHA-256 {found}, expected {file.sha256}",
        )
    part.replace(path)


def _source(model: Model, file: ModelFile, settings: Settings) -> str | Path:
    name = Path(file.path).name
    mirror = settings.models_mirror
    if mirror.startswith(("http://", "https://")):
        return f"{mirror.rstrip('/')}/{name}"
    if mirror:
        local = Path(mirror).expanduser() / name
        if not local.is_file():
            raise NotFound(
                Code.MODEL_MISSING,
                f"model {model.name}: the folder DARKROOM_MODELS_MIRROR has no {name}",
            )
        return local
    if file.url is None:
        raise NotFound(
            Code.MODEL_MISSING,
            f"model {model.name}: {name} has no URL; put it into the models folder",
        )
    return file.url


def _download(url: str, part: Path, file: ModelFile, show: IO[str]) -> None:
    start = part.stat().st_size if part.exists() else 0
    if start == file.bytes:
        return
    if file.bytes is not None and start > file.bytes:
        part.unlink()
        start = 0
    # Stored bytes are counted, so they must not be compressed on the way.
    headers = {"Accept-Encoding": "identity"} | (
        {"Range": f"bytes={start}-"} if start else {}
    )
    try:
        with httpx.stream(
            "GET", url, headers=headers, timeout=TIMEOUT_S, follow_redirects=True
        ) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                # nothing is left to fetch; the checksum tells whether it is the file
                return
            response.raise_for_status()
            resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
            with part.open("ab" if resumed else "wb") as target, _bar(show) as bar:
                task = bar.add_task(
                    part.stem, total=file.bytes, completed=start if resumed else 0
                )
                for chunk in response.iter_raw():
                    target.write(chunk)
                    bar.advance(task, len(chunk))
    except httpx.HTTPError as error:
        raise StorageUnavailable(
            f"{url}: {error}; run the command again to go on from there"
        ) from error


def _bar(show: IO[str]) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    return Progress(*columns, console=Console(file=show), disable=not show.isatty())
