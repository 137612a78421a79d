"""Fetches model files by hand, never on a request: a download goes on from where it
broke off, and is verified before its name becomes visible.

Order of places: the folder of the setting `models_mirror` when it names one, the mirror
URL, the file's own URL.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit, urlunsplit

import httpx
from pydantic import SecretStr
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TransferSpeedColumn,
)

from gpu_worker import models
from shared.errors import (
    Code,
    NotFound,
    PermanentError,
    SettingsError,
    StorageUnavailable,
)
from shared.models import Model, ModelFile
from shared.runtime.settings import ModelSettings

TIMEOUT_S = 30.0
_TOKEN = re.compile(r"[!-~]+")
"""ASCII that can be seen."""


def check_accepted(model: Model, accepts_licence: bool) -> None:
    """Raises `PermanentError(bad_parameter)` naming what the licence of `model` forbids,
    where nobody has accepted it.
    """
    if model.restriction is None or accepts_licence:
        return
    detail = (
        f"model {model.name}: {model.restriction} ({model.licence}); where that is no hindrance, run "
        f"`darkroom models pull {model.name} --accept-licence`"
    )
    raise PermanentError(Code.BAD_PARAMETER, detail)


def pull(model: Model, settings: ModelSettings, show: IO[str]) -> None:
    """Bring every file of `model` into the models folder. A file that is there and
    right is not fetched again; the progress goes to `show`.

    Raises `NotFound(model_missing)` when it has no source,
    `PermanentError(model_corrupt)` when what came is not the pinned file,
    `StorageUnavailable` when the source broke off: the same command then goes on from
    there, `SettingsError` for a token that cannot be sent.
    """
    for file in model.files:
        path = models.path_of(file, settings)
        if path is None or (file.package and not path.is_file()):
            # Raises, naming the package to install.
            models.locate(model, file.role, settings)
            continue
        is_right = path.is_file() and models.sha256_of(path) == file.sha256
        if not is_right:
            _fetch(model, file, path, settings, show)


def _fetch(
    model: Model,
    file: ModelFile,
    path: Path,
    settings: ModelSettings,
    show: IO[str],
) -> None:
    if file.package:
        # Raises: a package is repaired by its installer, not by us.
        models.verify(model, settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    source = _source(model, file, settings)
    if isinstance(source, Path):
        shutil.copyfile(source, part)
    else:
        token = (
            settings.models_mirror_token if settings.models_mirror else SecretStr("")
        )
        _download(source, part, file, show, token)
    with part.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != file.sha256:
        part.unlink()
        place = _named(source)
        detail = (
            f"model {model.name}: {place} gave SHA-256 {found}, expected {file.sha256}"
        )
        raise PermanentError(Code.MODEL_CORRUPT, detail)
    part.replace(path)


def _source(model: Model, file: ModelFile, settings: ModelSettings) -> str | Path:
    """The URL or the local file from which `file` is fetched."""
    name = Path(file.path).name
    mirror = settings.models_mirror
    if mirror.startswith(("http://", "https://")):
        return f"{mirror.rstrip('/')}/{name}"
    if mirror:
        local = Path(mirror).expanduser() / name
        if not local.is_file():
            detail = (
                f"model {model.name}: the folder DARKROOM_MODELS_MIRROR has no {name}"
            )
            raise NotFound(Code.MODEL_MISSING, detail)
        return local
    if file.url is None:
        detail = f"model {model.name}: {name} has no URL; put it into the models folder"
        raise NotFound(Code.MODEL_MISSING, detail)
    return file.url


def _checked(token: SecretStr) -> str:
    """The token, where a header can hold it: the client's own error would repeat it."""
    text = token.get_secret_value()
    if not _TOKEN.fullmatch(text):
        raise SettingsError(
            "DARKROOM_MODELS_MIRROR_TOKEN has a character that no header can hold; it is often the end of the line that"
            " a file of the token ends in"
        )
    return text


def _named(source: str | Path) -> str:
    """An address for people: without the password that may stand in it."""
    url = urlsplit(str(source))
    return urlunsplit(url._replace(netloc=url.netloc.rpartition("@")[2]))


def _download(
    url: str, part: Path, file: ModelFile, show: IO[str], token: SecretStr
) -> None:
    """Fetch what `part` does not hold yet. A redirect to another host goes without the
    token.
    """
    start = part.stat().st_size if part.exists() else 0
    if start == file.bytes:
        return
    if file.bytes is not None and start > file.bytes:
        part.unlink()
        start = 0
    # Stored bytes are counted, so they must not be compressed on the way.
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    if token.get_secret_value():
        headers["Authorization"] = f"Bearer {_checked(token)}"
    try:
        with httpx.stream(
            "GET",
            url,
            headers=headers,
            timeout=TIMEOUT_S,
            follow_redirects=True,
        ) as response:
            _receive(response, part, file, start, show)
    except httpx.HTTPStatusError as error:
        # Its own words repeat the address, with its password.
        status = error.response.status_code
        detail = f"{_named(url)}: it answers HTTP {status}"
        if status in (401, 403):
            detail += "; DARKROOM_MODELS_MIRROR_TOKEN is what a mirror is shown"
        raise StorageUnavailable(detail) from None
    except httpx.HTTPError as error:
        detail = f"{_named(url)}: {error}; run the command again to go on from there"
        raise StorageUnavailable(detail) from error


def _receive(
    response: httpx.Response,
    part: Path,
    file: ModelFile,
    start: int,
    show: IO[str],
) -> None:
    """Append the response to `part`, or begin anew where the source cannot resume."""
    if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        # Nothing is left to fetch; the checksum decides whether it is the file.
        return
    response.raise_for_status()
    is_resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
    mode = "ab" if is_resumed else "wb"
    completed = start if is_resumed else 0
    with part.open(mode) as target, _progress_bar(show) as bar:
        task = bar.add_task(part.stem, total=file.bytes, completed=completed)
        for chunk in response.iter_raw():
            target.write(chunk)
            bar.advance(task, len(chunk))
            if file.bytes is not None and target.tell() > file.bytes:
                # Whoever sends on would fill the disk. The checksum tells what it was.
                return


def _progress_bar(show: IO[str]) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    console = Console(file=show)
    return Progress(*columns, console=console, disable=not show.isatty())
