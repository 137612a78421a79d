"""The command `darkroom`. Commands live in `infra.commands`; each is imported only when
it is run.
"""

from __future__ import annotations

import errno
import sys
from importlib import import_module
from types import ModuleType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from infra.terminal import shown_lines
from shared import __version__
from shared.errors import Code, DarkroomError, SettingsError
from shared.runtime.installation import missing_part

COMMANDS: dict[str, str] = {
    "up": "Start the embedded stack and every process of Darkroom.",
    "down": "Stop the running stack.",
    "status": "What runs, and whether it is well.",
    "env": "KEY=value lines for a client of the running stack.",
    "config": "Every setting: its value, default, unit and meaning.",
    "keys": "Create, list and revoke API keys.",
    "submit": "Upload photos and folders of photos.",
    "tasks": "The latest rows of the log.",
    "task": "One task: its rows and its events.",
    "workflows": "The workflows and their parameters.",
    "models": "List, verify, pull or add models.",
    "demo": "Restore four damaged photos on a stack of its own, and check every one.",
    "bench": "Figures of a running stack, with their spread.",
    "handlers": "Run the HTTP door: storage events, health, API.",
    "worker": "Run one worker.",
    "recorder": "Run the recorder: log events into PostgreSQL.",
    "sweep": "Compare bucket, receipts and results; publish what was lost.",
    "dead": "List, show, retry or drop dead letters.",
    "callbacks": "Run the callbacks: signed webhooks to whoever asked to be called.",
    "webhooks": "Send a signed sample to a callback's URL; tell a user's secret.",
    "log": "Rebuild the log database from the buckets.",
    "migrate": "Apply the migrations of the log database.",
    "bootstrap": "Create the buckets.",
    "storage": "Notifications of MinIO-compatible servers.",
    "health": "The health check of a container.",
}
"""Command → its line in `darkroom --help`; the module `infra.commands.{modules}` has it
under `app`.
"""

MODULES = {
    "up": "stack",
    "down": "stack",
    "status": "stack",
    "env": "config",
    "config": "config",
    "keys": "keys",
    "submit": "submit",
    "tasks": "tasks",
    "task": "tasks",
    "workflows": "config",
    "models": "processes",
    "demo": "demo",
    "bench": "bench",
    "handlers": "processes",
    "worker": "processes",
    "recorder": "processes",
    "sweep": "processes",
    "log": "processes",
    "callbacks": "processes",
    "webhooks": "processes",
    "dead": "dead",
    "migrate": "setup",
    "bootstrap": "setup",
    "storage": "storage",
    "health": "health",
}
EXTRAS = {
    "handlers": "services",
    "recorder": "services",
    "sweep": "services",
    "callbacks": "services",
    "webhooks": "services",
    "keys": "services",
    "dead": "services",
    "log": "services",
    "migrate": "services",
    "bootstrap": "services",
    "worker": "worker",
    "models": "worker",
    "storage": "minio",
}
"""Command → the extra that brings what it imports; others need the whole `stack`."""

OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""No error of the program: where it was told to read or write, it cannot."""
OF_A_SERVER = (
    Code.STORAGE_UNAVAILABLE,
    Code.BROKER_UNAVAILABLE,
    Code.DATABASE_UNAVAILABLE,
)
GROUPS = ("bench", "storage", "dead", "keys")
"""Modules whose whole app is one command with sub-commands."""


class LazyGroup(TyperGroup):
    """Knows all names and help lines without importing a single command, for `--help`
    and for a shell's completion.
    """

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the library's signature
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the library's signature
        """The command's name and its line."""
        return (
            TyperCommand(cmd_name, help=COMMANDS[cmd_name])
            if cmd_name in COMMANDS
            else None
        )

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself, as it is run or completed."""
        name, known, rest = super().resolve_command(ctx, args)
        return name, _load(name) if known and name else known, rest


def _load(name: str) -> Any:
    """The command `name`, imported now."""
    command = get_command(_module(name).app)
    if isinstance(command, TyperGroup) and name not in GROUPS:
        return command.commands[name]
    return command


def _module(name: str) -> ModuleType:
    """The module of a command. Raises `SettingsError` where its extra is missing."""
    try:
        return import_module(f"infra.commands.{MODULES[name]}")
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(name, "stack")
        raise missing_part(error, extra, f"`darkroom {name}`") from error


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    help="Darkroom restores photographs.",
    rich_markup_mode=None,
)


def _tell_version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_tell_version,
            is_eager=True,
            help="Tell the version and leave.",
        ),
    ] = False,
) -> None:
    """Darkroom restores photographs."""


def main() -> None:
    """Exit status: 0 success, 1 a failed job, 2 wrong usage."""
    try:
        app()
    except SettingsError as error:
        sys.exit(_say(error.detail, 2))
    except ModuleNotFoundError as error:
        sys.exit(_say(missing_part(error, "stack", "this command").detail, 2))
    except DarkroomError as error:
        hint = "; `darkroom status` says what runs" if error.code in OF_A_SERVER else ""
        sys.exit(_say(error.detail + hint, 1))
    except OSError as error:
        if error.errno not in OF_THE_DISK:
            raise
        sys.exit(
            _say(
                f"{error.filename or 'a file'}: {error.strerror}; make room, or name another place",
                1,
            )
        )


def _say(detail: str, status: int) -> int:
    print(f"darkroom: {shown_lines(detail)}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
