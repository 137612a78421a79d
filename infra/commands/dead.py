"""`darkroom dead list|show|retry|drop`: the messages that were set aside, each with its
reason.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from infra.commands.require_stack import need_servers
from infra.terminal import shown
from shared.broker import dead_letter, topology
from shared.broker.dead_letter import DeadLetter
from shared.broker.depth import depth
from shared.broker.publisher import Publisher
from shared.errors import Code, MessageError, NotFound
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from shared.uploads.messages import RestoreTask
from shared.uploads.retry_failed import reopen

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="The messages that were set aside."
)
JsonOption = Annotated[bool, typer.Option("--json", help="Nothing but JSON on stdout.")]
QueueOption = Annotated[
    str | None, typer.Option(help="Only what came from this queue.")
]
IdsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID…", help="As `darkroom dead list` shows them."),
]
AllOption = Annotated[
    bool, typer.Option("--all", help="All of them, or all of --queue.")
]


@app.command("list")
def list_(queue: QueueOption = None, as_json: JsonOption = False) -> None:
    """The oldest thousand of each queue."""
    found = dead_letter.letters(need_servers(), _known(queue))
    if as_json:
        print(json.dumps([_plain(letter) for letter in found], indent=2))
        return
    columns = ("id", "queue", "code", "at", "detail")
    table = Table(*(Column(name, overflow="fold") for name in columns))
    for letter in found:
        table.add_row(*(shown(getattr(letter, name)) for name in columns))
    Console(markup=False).print(table)


@app.command()
def show(
    ident: Annotated[str, typer.Argument(metavar="ID")], as_json: JsonOption = False
) -> None:
    """One message: its reason, its headers, its bytes."""
    plain = _plain(dead_letter.find(need_servers(), ident))
    if as_json:
        print(json.dumps(plain, indent=2))
        return
    for name, value in plain.items():
        print(f"{name:10} {shown(value)}")


@app.command()
def retry(
    idents: IdsArgument = None,
    every: AllOption = False,
    queue: QueueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put messages back where they came from; a photo that had failed gets a fresh
    start.
    """
    settings = need_servers()
    store, publisher = S3Store(settings), Publisher(settings)

    def prepare(letter: DeadLetter) -> None:
        if letter.queue in topology.RESTORE and (task := _task(letter)):
            reopen(task, store, publisher, settings, datetime.now(UTC))

    try:
        moved = _each(
            settings,
            idents,
            every,
            queue,
            lambda ids, of: dead_letter.retry(settings, ids, of, prepare),
        )
    finally:
        publisher.close()
    print(json.dumps({"retried": moved}) if as_json else f"{moved} put back")


@app.command()
def drop(
    idents: IdsArgument = None,
    every: AllOption = False,
    queue: QueueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Throw messages away for good; what became of the photos stays as it is."""
    settings = need_servers()
    dropped = _each(
        settings,
        idents,
        every,
        queue,
        lambda ids, of: dead_letter.drop(settings, ids, of),
    )
    print(json.dumps({"dropped": dropped}) if as_json else f"{dropped} dropped")


def _each(
    settings: Settings,
    idents: list[str] | None,
    every: bool,
    queue: str | None,
    act: Callable[[Collection[str] | None, str | None], int],
) -> int:
    """Act on these, or on all that there are now: what fails again meanwhile is not
    taken a second time for ever.
    """
    if bool(idents) == every:
        raise typer.BadParameter("name the messages by their ids, or say --all")
    if idents:
        known = {letter.id for letter in dead_letter.letters(settings, _known(queue))}
        if missing := [ident for ident in idents if ident not in known]:
            raise NotFound(
                Code.BAD_MESSAGE,
                f"no dead message {missing[0]!r}; `darkroom dead list` shows them",
            )
        return act(idents, queue)
    sizes = depth(settings)
    most = max(
        sizes[topology.dead(name)]
        for name in ([queue] if _known(queue) else topology.ALL)
        if name
    )
    return sum(act(None, queue) for _ in range(-(-most // dead_letter.LIMIT)))


def _known(queue: str | None) -> str | None:
    if queue is None or queue in topology.ALL:
        return queue
    raise typer.BadParameter(f"{queue!r} is not one of {', '.join(topology.ALL)}")


def _task(letter: DeadLetter) -> RestoreTask | None:
    try:
        return RestoreTask.decode(letter.body)
    except MessageError:
        return None


def _plain(letter: DeadLetter) -> dict[str, Any]:
    """As JSON knows it; bytes that are no text are Base64."""
    try:
        body = {"body": letter.body.decode()}
    except UnicodeDecodeError:
        body = {"body_base64": b64encode(letter.body).decode()}
    return {
        "id": letter.id,
        "queue": letter.queue,
        "code": letter.code,
        "detail": letter.detail,
        "at": letter.at,
        "headers": letter.headers,
    } | body
