"""`darkroom immich ALBUM`: restore the photos of an album of Immich."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console

from infra.client import DarkroomClient
from infra.commands.options import ParamsOption, WorkflowOption, params_of
from infra.immich import Asset, Immich
from infra.terminal import shown
from shared.errors import DarkroomError, SettingsError
from shared.runtime.connection import Connection

app = typer.Typer(add_completion=False)
console = Console(highlight=False)


MOST_CHARS = 80


class NoResult(Exception):
    """The photo was refused, or could not be restored."""


@app.command()
def immich(
    album: Annotated[
        UUID, typer.Argument(help="Its id, as its address in Immich ends.")
    ],
    server: Annotated[str, typer.Option(envvar="IMMICH_URL", help="Immich's address.")],
    immich_key: Annotated[
        str,
        typer.Option(envvar="IMMICH_API_KEY", help="An API key of Immich's."),
    ],
    workflow: WorkflowOption = None,
    params: ParamsOption = "{}",
    api: Annotated[
        str | None, typer.Option(help="Darkroom's API; DARKROOM_API_URL without it.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Its key; DARKROOM_API_KEY without it.")
    ] = None,
    timeout_s: Annotated[
        float, typer.Option(help="Longest wait for one photo [s].", min=0)
    ] = 3600.0,
) -> None:
    """Restore every photo of an album, and stack each result above its photo; exit
    status 1 if any was not restored. May be repeated.
    """
    connection = Connection.load()
    url = api or connection.api_url
    if not url:
        raise SettingsError("no API is named: give `--api`, or set DARKROOM_API_URL")
    wishes = {"workflow": workflow, "params": params_of(params)}
    failed = 0
    with (
        Immich(server, immich_key) as source,
        DarkroomClient(url, key or connection.api_key, retry_s=timeout_s) as client,
    ):
        for asset in source.photos(album):
            try:
                outcome = _restored(source, client, asset, album, timeout_s, wishes)
            except (NoResult, DarkroomError, OSError) as error:
                failed += 1
                outcome = str(error)
            console.print(shown(f"{asset.name}: {outcome}"), markup=False)
    if failed:
        raise typer.Exit(1)


def _restored(
    source: Immich,
    client: DarkroomClient,
    asset: Asset,
    album: UUID,
    timeout_s: float,
    wishes: Mapping[str, Any],
) -> str:
    """What became of a photo. Raises `NoResult`, and `DarkroomError`."""
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / _plain(asset.name)
        result = Path(folder) / "-result.png"
        source.fetch(asset, photo)
        ticket = client.submit(photo, **wishes)
        state = client.wait(ticket, timeout_s)
        if not state.restored or state.task_id is None:
            raise NoResult(state.error_detail or state.status)
        client.save(state.task_id, result)
        is_new = source.put_beside(asset, result, album)
    return "restored" if is_new else "was there already"


def _plain(name: str) -> str:
    """Another server's name as that of a file in our folder."""
    return re.sub(r"[^\w. ]", "_", name)[-MOST_CHARS:].strip(". ") or "photo"
