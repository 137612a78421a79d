"""`darkroom submit PATH…`: upload photos and folders of photos, wait for them, fetch
them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column, Table

from infra.client import DarkroomClient
from infra.commands import submit_by_api
from infra.commands.options import (
    ParamsOption,
    WorkflowOption,
    params_of,
    priority_of,
)
from infra.commands.submit_by_api import Wishes
from infra.terminal import shown
from shared.errors import PermanentError, SettingsError
from shared.runtime.connection import Connection
from shared.runtime.installation import how_to_add
from shared.uploads import photo_files
from shared.uploads.formats import parse

app = typer.Typer(add_completion=False)
POLL_S = 0.2
console = Console(stderr=True, highlight=False)


class Photo(Protocol):
    """A photo on its way, by the bucket or through the API. `fault`: why it has no
    result.
    """

    path: Path

    @property
    def ended(self) -> bool: ...

    @property
    def restored(self) -> bool: ...

    @property
    def fault(self) -> str | None: ...

    def look(self) -> None: ...

    def save(self, to: Path) -> None: ...

    def as_dict(self) -> dict[str, Any]: ...

    def row(self) -> tuple[str, ...]: ...


@app.command()
def submit(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH…", help="Photos, and folders that are searched for photos."
        ),
    ],
    workflow: WorkflowOption = None,
    params: ParamsOption = "{}",
    priority: Annotated[
        str, typer.Option(help="interactive overtakes bulk.")
    ] = "interactive",
    formats: Annotated[
        str | None,
        typer.Option(
            help="Copies beside each result: jpeg, webp, avif, tiff, same, labelled."
        ),
    ] = None,
    page: Annotated[
        int,
        typer.Option(
            help="Which page of each TIFF.", min=1, max=photo_files.MOST_PAGES
        ),
    ] = 1,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="What to repair of one photo: a grey PNG of its size, black where nothing may change.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until every photo has ended.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Fetch results into this folder (waits).")
    ] = None,
    api: Annotated[
        str | None,
        typer.Option(help="Through this HTTP API, as an app does, not by the bucket."),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Key of the API; DARKROOM_API_KEY without it.")
    ] = None,
    timeout_s: Annotated[float, typer.Option(help="Longest wait [s].", min=0)] = 3600.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Nothing but JSON on stdout.")
    ] = False,
) -> None:
    """Upload photos; exit status 1 if any of those waited for was not restored."""
    found, skipped = _found(paths)
    for path in skipped:
        console.print(shown(f"not sent, no photo by its name: {path}"), markup=False)
    wanted = _formats(formats)
    given = params_of(params)
    if mask and len(found) > 1:
        detail = f"--mask is that of one photo, and {len(found)} are named"
        raise typer.BadParameter(detail)
    if mask and "mask" in given:
        raise typer.BadParameter("--mask and a mask among --params exclude each other")
    wishes = Wishes(workflow, given, priority_of(priority), wanted, page, mask)
    send = _sender(api, key, timeout_s, wishes)
    if out:
        _make_folder(out)
    with _progress() as progress:
        bar = progress.add_task("uploading", total=len(found))
        photos = []
        for file in found:
            photos.append(send(file.path))
            progress.advance(bar)
        to = _targets(found, out) if out else None
        in_time = not (wait or out) or _wait(photos, to, progress, timeout_s)
    _show(photos, as_json)
    if not in_time or any(photo.fault for photo in photos):
        raise typer.Exit(1)


def _sender(
    api: str | None, key: str | None, timeout_s: float, wishes: Wishes
) -> Callable[[Path], Photo]:
    """What sends one photo: by the bucket where the library for it is installed and no
    API is named, else through the API.
    """
    if api is None and find_spec("botocore") is not None:
        # The base install has no library for this.
        from infra.commands import submit_by_bucket

        return submit_by_bucket.sender(wishes)
    connection = Connection.load()
    url = api or connection.api_url
    if not url:
        raise SettingsError(
            "no API is named: give `--api`, or set DARKROOM_API_URL; "
            f"to upload to the bucket of a stack, {how_to_add('stack')}"
        )
    client = DarkroomClient(url, key or connection.api_key, retry_s=timeout_s)
    return submit_by_api.sender(client, wishes)


def _formats(text: str | None) -> Sequence[str] | None:
    if text is None:
        return None
    try:
        return parse(text)
    except PermanentError as error:
        raise typer.BadParameter(error.detail) from error


@dataclass(frozen=True)
class Found:
    """A photo to send. `folder`: its place below the folder that was named."""

    path: Path
    folder: Path


def _found(paths: list[Path]) -> tuple[list[Found], list[Path]]:
    """The photos that are named or lie in what is named, and the other files there.

    Raises `typer.BadParameter` where there is no photo.
    """
    photos = []
    skipped = []
    for path in paths:
        if path.is_file():
            photos.append(Found(path, Path()))
        elif not path.is_dir():
            raise typer.BadParameter(f"{path} does not exist")
        for file in sorted(path.rglob("*")):
            if not file.is_file():
                continue
            if file.suffix.lower() in photo_files.SUFFIXES:
                photos.append(Found(file, file.parent.relative_to(path)))
            else:
                skipped.append(file)
    if not photos:
        raise typer.BadParameter(
            "no photo found; folders are searched for "
            + " ".join(sorted(photo_files.SUFFIXES))
        )
    sent = {photo.path for photo in photos}
    return photos, [path for path in skipped if path not in sent]


def _make_folder(path: Path) -> None:
    """Before anything is sent. Raises `typer.BadParameter`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(
            f"--out {path} cannot be made a folder: {error.strerror}"
        ) from error


def _targets(found: Sequence[Found], out: Path) -> list[Path]:
    """Where the result of each photo goes: as its original lies in its folder."""
    names: set[Path] = set()
    targets = []
    for each in found:
        target = _free(out / each.folder, each.path.stem, names)
        names.add(target)
        targets.append(target)
    return targets


def _wait(
    photos: Sequence[Photo],
    to: Sequence[Path] | None,
    progress: Progress,
    timeout_s: float,
) -> bool:
    """Wait until all have ended, and save each result as soon as it is there. False: not
    all did in time.
    """
    bar = progress.add_task("restoring", total=len(photos))
    deadline_s = time.monotonic() + timeout_s
    waiting = dict(enumerate(photos))
    while waiting and time.monotonic() < deadline_s:
        for number, photo in list(waiting.items()):
            photo.look()
            if photo.ended:
                del waiting[number]
                progress.advance(bar)
                if to and photo.restored:
                    _save(photo, to[number])
        time.sleep(POLL_S)
    return not waiting


def _save(photo: Photo, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    # Another command may have written there meanwhile.
    photo.save(_free(to.parent, to.stem))


def _free(folder: Path, stem: str, taken: Collection[Path] = ()) -> Path:
    """A name that nothing has yet: `photo.png`, `photo-2.png`, …"""
    path, number = folder / f"{stem}.png", 1
    while path.exists() or path in taken:
        number += 1
        path = folder / f"{stem}-{number}.png"
    return path


def _show(photos: Sequence[Photo], as_json: bool) -> None:
    if as_json:
        print(json.dumps([photo.as_dict() for photo in photos], indent=2))
        return
    names = ("photo", "status", "task", "size", "seconds", "saved as")
    # whole ids, however narrow the terminal
    table = Table(*(Column(name, overflow="fold") for name in names))
    for photo in photos:
        table.add_row(*(shown(cell) for cell in photo.row()))
    Console(markup=False).print(table)  # a file may be named [like this]


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console)
