"""`darkroom verify PATH`: every checksum and signature of an export, every checksum of
any bag, or the signature of one picture.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from infra.export.signatures import of_file
from infra.export.verify import verified
from infra.ingest import sources
from infra.terminal import shown
from shared.errors import SettingsError
from shared.uploads import photo_files

app = typer.Typer(add_completion=False)
console = Console(highlight=False, markup=False)


@app.command()
def verify(
    place: Annotated[
        Path,
        typer.Argument(
            help="A folder, bag, or ZIP or TAR file of one; or a signed picture."
        ),
    ],
    roots: Annotated[
        Path | None,
        typer.Option(help="PEM file of the roots that you trust to name signers."),
    ] = None,
) -> None:
    """Compare every file with the lists beside it, and with its content credentials; exit
    status 1 if any differs.
    """
    trusted = _read(roots) if roots else ""
    if place.is_file() and place.suffix.lower() in photo_files.SUFFIXES:
        console.print(shown(f"signed by {of_file(place, trusted)}"))
        return
    found = verified(sources.opened(place), trusted)
    for fault in found.faults:
        console.print(shown(f"{fault.code}: {fault.detail}"))
    _tell_signers(found.signers)
    console.print(f"{found.files:,} files listed, {len(found.faults):,} faults")
    if found.faults:
        raise typer.Exit(1)


def _tell_signers(signers: Counter[str]) -> None:
    for signer, number in signers.items():
        console.print(shown(f"{number:,} signatures valid, by {signer}"))


def _read(roots: Path) -> str:
    try:
        return roots.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--roots: {error}") from error
