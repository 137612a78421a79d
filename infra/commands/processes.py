"""Commands that become a process of a wing: `darkroom worker` is `python -m
gpu_worker`, and so on.

`infra` starts the wings and never imports them: what a command takes is told here, and
handed on.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from infra.commands.require_stack import need_servers
from shared.runtime.installation import missing_library

app = typer.Typer(add_completion=False)
models = typer.Typer(no_args_is_help=True, help="List, verify, pull or add models.")
webhooks = typer.Typer(
    no_args_is_help=True,
    help="Send a signed sample to a callback's URL; tell a user's secret.",
)
log = typer.Typer(
    no_args_is_help=True, help="Rebuild the log database from the buckets."
)
app.add_typer(models, name="models")
app.add_typer(webhooks, name="webhooks")
app.add_typer(log, name="log")

JsonOption = Annotated[bool, typer.Option("--json", help="Nothing but JSON on stdout.")]
JsonLinesOption = Annotated[
    bool,
    typer.Option("--json", help="One JSON object a line on stdout, and nothing else."),
]
NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]…", help="Models; none: all.")
]


NEEDED = {"handlers": ("psycopg2", "services"), "gpu_worker": ("numpy", "worker")}
"""Wing → a library without which none of its processes runs, and the extra that has it."""


def _become(module: str, *arguments: str) -> NoReturn:
    library, extra = NEEDED[module]
    if find_spec(library) is None:
        raise missing_library(library, extra, f"`python -m {module}`")
    sys.stdout.flush()
    # -P: the wing that is installed, not a folder of that name where somebody happens
    # to stand.
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])  # noqa: S606 - our own interpreter


def _json(said: bool) -> list[str]:
    return ["--json"] if said else []


@app.command()
def handlers() -> None:
    """Run the HTTP door: storage events, health, API."""
    _become("handlers", "http")


@app.command()
def recorder() -> None:
    """Run the recorder: log events into PostgreSQL."""
    _become("handlers", "recorder")


@app.command()
def sweep(
    since: Annotated[
        str,
        typer.Option(
            help="Only what is younger: 2026-01-31T12:00, UTC without a zone."
        ),
    ] = "",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Change nothing, count what would be done."),
    ] = False,
    forever: Annotated[
        bool, typer.Option("--forever", help="One sweep after another, as a process.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare bucket, receipts and results; publish what was lost. Once, or with
    `--forever` again and again.
    """
    if forever and (since or dry_run or as_json):
        raise typer.BadParameter(
            "--since, --dry-run and --json belong to one sweep, not to --forever"
        )
    if forever:
        _become("handlers", "sweep")
    given = ["--since", _moment(since)] if since else []
    given += ["--dry-run"] if dry_run else []
    need_servers()
    _become("handlers", "sweep", "--once", *given, *_json(as_json))


def _moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"--since {text!r} is no time of ISO 8601, such as 2026-01-31T12:00"
        ) from error
    return text


@app.command()
def callbacks() -> None:
    """Run the callbacks: signed webhooks to whoever asked to be called."""
    _become("handlers", "callbacks")


@webhooks.command("test")
def webhooks_test(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the sample goes.")],
    as_json: JsonOption = False,
) -> None:
    """Send a signed sample; a URL that a 410 had switched off is called again, if it
    answers well.
    """
    need_servers()
    _become("handlers", "callbacks", "test", url, *_json(as_json))


@webhooks.command("secret")
def webhooks_secret(
    user: Annotated[
        str, typer.Option(help="The name that `darkroom keys create --user` was given.")
    ],
    as_json: JsonOption = False,
) -> None:
    """The secret by which a user's own servers verify calls."""
    need_servers()
    _become("handlers", "callbacks", "secret", "--user", user, *_json(as_json))


@log.command("rebuild")
def log_rebuild(as_json: JsonOption = False) -> None:
    """Write the log database again from the buckets; what is there stays."""
    need_servers()
    _become("handlers", "rebuild", *_json(as_json))


@app.command()
def worker() -> None:
    """Run one worker."""
    _become("gpu_worker")


@models.command("list")
def models_list(names: NamesArgument = None, as_json: JsonLinesOption = False) -> None:
    """Which models there are, their licences, and whether they are here."""
    _become("gpu_worker", "models", "list", *(names or []), *_json(as_json))


@models.command("verify")
def models_verify(
    names: NamesArgument = None, as_json: JsonLinesOption = False
) -> None:
    """Whether what is here is right, by its checksum; a model that is named has to be
    here.
    """
    _become("gpu_worker", "models", "verify", *(names or []), *_json(as_json))


@models.command("pull")
def models_pull(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME…", help="Models; `darkroom models list` has them."
        ),
    ],
    as_json: JsonLinesOption = False,
) -> None:
    """Fetch models, from DARKROOM_MODELS_MIRROR where it is set."""
    _become("gpu_worker", "models", "pull", *names, *_json(as_json))


@models.command("add")
def models_add(
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
    given = [f"--name={name}"] if name is not None else []
    given += [f"--licence={licence}"] if licence is not None else []
    _become("gpu_worker", "models", "add", str(file), *given, *_json(as_json))
