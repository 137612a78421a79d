"""`darkroom models list|verify|pull|add`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.commands.become import become
from infra.commands.options import JsonLinesOption

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="List, verify, pull or add models.",
)

NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]…", help="Models; none: all.")
]


@app.command("list")
def list_(names: NamesArgument = None, as_json: JsonLinesOption = False) -> None:
    """Which models there are, their licences, and whether they are here."""
    become("gpu_worker", "models", "list", *(names or []), as_json=as_json)


@app.command()
def verify(names: NamesArgument = None, as_json: JsonLinesOption = False) -> None:
    """Compare the files that are here with their checksums; a model that is named has
    to be here.
    """
    become("gpu_worker", "models", "verify", *(names or []), as_json=as_json)


@app.command()
def pull(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME…", help="Models; `darkroom models list` has them."
        ),
    ],
    accept_licence: Annotated[
        bool,
        typer.Option(
            "--accept-licence", help="Also models whose licence forbids some uses."
        ),
    ] = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Fetch models, from DARKROOM_MODELS_MIRROR where it is set."""
    options = ["--accept-licence"] if accept_licence else []
    become("gpu_worker", "models", "pull", *names, *options, as_json=as_json)


@app.command()
def add(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Weights: .pth or .safetensors.")
    ],
    name: Annotated[
        str | None,
        typer.Option(help="Its name for workflows; without it that of the file."),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(help="The licence of the weights; without it: unknown."),
    ] = None,
    as_json: JsonLinesOption = False,
) -> None:
    """Give a community model a name by which workflows take it."""
    options = []
    if name is not None:
        options.append(f"--name={name}")
    if licence is not None:
        options.append(f"--licence={licence}")
    become("gpu_worker", "models", "add", str(file), *options, as_json=as_json)
