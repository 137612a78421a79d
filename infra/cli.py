"""The command `darkroom`. Commands live in `infra.commands`; each module is imported
only when one of its commands is run.
"""

from __future__ import annotations

import errno
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from infra.terminal import shown_lines
from shared import __version__
from shared.errors import Code, DarkroomError, SettingsError
from shared.runtime.installation import missing_library, missing_part


class Entry(NamedTuple):
    """A command before its module is imported.

    `help` is its line in `darkroom --help`, `module` the module of `infra.commands`
    that defines it, `extra` the extra that brings what the module imports.
    """

    help: str
    module: str
    extra: str = "stack"


COMMANDS = {
    "up": Entry("Start the embedded stack and every process of Darkroom.", "stack"),
    "down": Entry("Stop the running stack.", "stack"),
    "status": Entry("What runs, and whether it is well.", "stack"),
    "env": Entry("KEY=value lines for a client of the running stack.", "config"),
    "config": Entry("Every setting: its value, default, unit and meaning.", "config"),
    "keys": Entry("Create, list and revoke API keys.", "keys", "services"),
    "console": Entry(
        "A one-time link to the console, and its QR code.", "console", "services"
    ),
    "submit": Entry("Upload photos and folders of photos.", "submit"),
    "watch": Entry("Restore what is dropped into a local folder.", "watch"),
    "ingest": Entry(
        "Send a whole album or archive: folders, bags, ZIP and TAR files.", "ingest"
    ),
    "immich": Entry("Restore the photos of an album of Immich.", "immich"),
    "jobs": Entry("Jobs of albums, archives and batches; how far they are.", "jobs"),
    "export": Entry("Write a job's results as a tree, album or bag.", "export"),
    "verify": Entry("Compare an export, or any bag, with its checksums.", "verify"),
    "tasks": Entry("The latest rows of the audit log.", "tasks"),
    "task": Entry("One task: its rows and its events.", "tasks"),
    "report": Entry("The report about a photo or a batch, or its PDF.", "report"),
    "stats": Entry(
        "Shares, causes of failure, seconds and users, from the audit log.",
        "stats",
        "services",
    ),
    "workflows": Entry(
        "The workflows and their parameters; check and add your own.", "workflows"
    ),
    "models": Entry("List, verify, pull or add models.", "models", "worker"),
    "demo": Entry(
        "Restore sample photos on a stack of its own, and check every one.",
        "demo",
    ),
    "bench": Entry("Figures of a running stack, with their spread.", "bench"),
    "simulate": Entry(
        "How many workers, how long photos would wait, and what it costs.", "simulate"
    ),
    "handlers": Entry(
        "Run the HTTP server: storage events, health, API.", "processes", "services"
    ),
    "worker": Entry("Run one worker.", "processes", "worker"),
    "recorder": Entry(
        "Run the recorder: events into the audit log.", "processes", "services"
    ),
    "sweep": Entry(
        "Reconcile bucket, receipts and results; publish what was lost.",
        "processes",
        "services",
    ),
    "dead": Entry("List, show, retry or drop dead letters.", "dead", "services"),
    "callbacks": Entry("Run the dispatcher of webhooks.", "processes", "services"),
    "webhooks": Entry(
        "Send a signed sample to a webhook's URL; show a user's secret.",
        "webhooks",
        "services",
    ),
    "backup": Entry(
        "Copy what is new of photos, results, log, models and secrets.",
        "backup",
        "services",
    ),
    "restore": Entry(
        "Restore a backup into an empty state folder or empty servers.",
        "backup",
        "services",
    ),
    "retention": Entry(
        "Delete what the rules of retention cover; try them, print lifecycle rules.",
        "retention",
        "services",
    ),
    "log": Entry(
        "Rebuild the audit log, archive its old months, ask it in SQL.",
        "log",
        "services",
    ),
    "doctor": Entry(
        "Compare releases, workflows, models, settings and the backup.",
        "doctor",
        "services",
    ),
    "drill": Entry(
        "Lose a stack and come back from the backup, on a stack of its own.",
        "drill",
    ),
    "migrate": Entry("Apply the migrations of the audit log.", "setup", "services"),
    "bootstrap": Entry("Create the buckets.", "setup", "services"),
    "storage": Entry("Notifications of MinIO-compatible servers.", "storage", "minio"),
    "health": Entry("The health check of a container.", "health"),
}

STANDS_FOR = {"worker": "numpy"}
"""Extra → a library that stands for it: commands that become a worker import nothing of
it here.
"""

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""Errors that are no bug: a place that the user named cannot be read or written."""
SERVER_CODES = (
    Code.STORAGE_UNAVAILABLE,
    Code.BROKER_UNAVAILABLE,
    Code.DATABASE_UNAVAILABLE,
)
"""Errors that say that a server of the stack is away."""


class LazyGroup(TyperGroup):
    """Lists all commands, for `--help` and for a shell's completion, without importing
    one of them.
    """

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the library's signature
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the library's signature
        """A stand-in that has the command's name and help line."""
        if cmd_name not in COMMANDS:
            return None
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name].help)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself, to be run or completed."""
        name, command, rest = super().resolve_command(ctx, args)
        if name and command:
            command = load(name)
        return name, command, rest


def load(name: str) -> Any:
    """Import the command `name`. Raises `SettingsError` where its extra is missing.

    A module's app is either the command, or a group that contains it.
    """
    entry = COMMANDS[name]
    library = STANDS_FOR.get(entry.extra)
    if library and find_spec(library) is None:
        raise missing_library(library, entry.extra, f"`darkroom {name}`")
    try:
        module = import_module(f"infra.commands.{entry.module}")
    except ModuleNotFoundError as error:
        raise missing_part(error, entry.extra, f"`darkroom {name}`") from error
    command = get_command(module.app)
    if isinstance(command, TyperGroup):
        return command.commands.get(name, command)
    return command


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    help="Darkroom restores photographs.",
    rich_markup_mode=None,
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Darkroom restores photographs."""


def main() -> None:
    """Exit status: 0 success, 1 a failed job, 2 wrong usage."""
    try:
        app()
    except SettingsError as error:
        _exit(error.detail, 2)
    except ModuleNotFoundError as error:
        _exit(missing_part(error, "stack", "this command").detail, 2)
    except DarkroomError as error:
        is_server = error.code in SERVER_CODES
        hint = "; `darkroom status` says what runs" if is_server else ""
        _exit(error.detail + hint, 1)
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        file = error.filename or "a file"
        _exit(f"{file}: {error.strerror}; make room, or name another place", 1)


def _exit(detail: str, status: int) -> NoReturn:
    print(f"darkroom: {shown_lines(detail)}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
