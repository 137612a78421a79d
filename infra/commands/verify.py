"""`darkroom verify PATH`: every checksum of an export, or of any bag."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from infra.export.verify import verified
from infra.ingest import sources
from infra.terminal import shown

app = typer.Typer(add_completion=False)
console = Console(highlight=False, markup=False)


@app.command()
def verify(
    place: Annotated[
        Path, typer.Argument(help="A folder, bag, or ZIP or TAR file of one.")
    ],
) -> None:
    """Compare every file with the lists beside it; exit status 1 if any differs."""
    found = verified(sources.opened(place))
    for fault in found.faults:
        console.print(shown(f"{fault.code}: {fault.detail}"))
    console.print(f"{found.files:,} files listed, {len(found.faults):,} faults")
    if found.faults:
        raise typer.Exit(1)
