"""`darkroom watch FOLDER`: a local folder as a bucket."""

from __future__ import annotations

import fcntl
import hashlib
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from infra.client import DarkroomClient
from infra.commands.options import ParamsOption, WorkflowOption, params_of
from infra.terminal import shown
from infra.watch.journal import Journal
from infra.watch.watcher import Folders, Watcher
from shared.errors import SettingsError
from shared.runtime.connection import Connection

app = typer.Typer(add_completion=False)
console = Console(stderr=True, highlight=False)


@app.command()
def watch(
    folder: Annotated[
        Path, typer.Argument(help="Its photos are restored, and those that come.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Results go here, as the photos lie; else beside them, as NAME-restored.png."
        ),
    ] = None,
    workflow: WorkflowOption = None,
    params: ParamsOption = "{}",
    settle_s: Annotated[
        float,
        typer.Option(help="A file is sent once it was left alone so long [s].", min=0),
    ] = 5.0,
    every_s: Annotated[
        float, typer.Option(help="Pause between two looks [s].", min=0.1)
    ] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Leave when all that is there has ended.")
    ] = False,
    api: Annotated[
        str | None, typer.Option(help="The HTTP API; DARKROOM_API_URL without it.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Key of the API; DARKROOM_API_KEY without it.")
    ] = None,
) -> None:
    """Restore what is dropped into a folder, until Ctrl-C. It may be killed at any time,
    and goes on where it was.
    """
    given = params_of(params)
    folders = _folders(folder, out)
    with _client(api, key) as client, _journal(folders) as journal:
        sender = _Sender(client, journal, workflow, given)
        watcher = Watcher(folders, sender, journal, settle_s, _tell)
        _tell(f"watches {folders.watched}; results go to {folders.results}")
        while not (watcher.look() and once):
            time.sleep(every_s)


class _Sender:
    """The API, with the wishes of this watch."""

    def __init__(
        self,
        client: DarkroomClient,
        journal: Journal,
        workflow: str | None,
        params: dict[str, Any],
    ) -> None:
        self._client = client
        self._journal = journal
        self._workflow = workflow
        self._params = params
        self.state = client.state
        self.save = client.save
        for url in journal.stores():
            client.trust(url)

    def submit(self, path: Path) -> str:
        ticket = self._client.submit(
            path, workflow=self._workflow, params=self._params, priority="bulk"
        )
        # A watch that begins after this one fetches results from there, too.
        for url in self._client.trusted:
            self._journal.note_store(url)
        return ticket


def _folders(folder: Path, out: Path | None) -> Folders:
    if not folder.is_dir():
        raise typer.BadParameter(f"{folder} is no folder")
    results = out or folder
    try:
        results.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        detail = f"--out {out} cannot be made a folder: {error.strerror}"
        raise typer.BadParameter(detail) from error
    watched = folder.resolve()
    if results.resolve() in watched.parents:
        raise typer.BadParameter(f"--out {out} holds the watched folder; name another")
    return Folders(watched, results.resolve())


def _client(api: str | None, key: str | None) -> DarkroomClient:
    connection = Connection.load()
    url = api or connection.api_url
    if not url:
        detail = "no API is named: give `--api`, or set DARKROOM_API_URL"
        raise SettingsError(detail)
    # A server that is busy is waited for, however long.
    return DarkroomClient(url, key or connection.api_key, retry_s=math.inf)


@contextmanager
def _journal(folders: Folders) -> Iterator[Journal]:
    """The journal of this folder, among its results. Raises `SettingsError` where another
    watch has it.
    """
    name = hashlib.sha256(str(folders.watched).encode()).hexdigest()[:8]
    file = folders.results / f".darkroom-watch-{name}.sqlite"
    with file.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            detail = f"another `darkroom watch` watches {folders.watched} already"
            raise SettingsError(detail) from None
        with Journal(file) as journal:
            yield journal


def _tell(sentence: str) -> None:
    console.print(shown(sentence), markup=False, soft_wrap=True)
