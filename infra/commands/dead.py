"""`darkroom dead list|show|retry|drop`: the dead letters, each with its reason."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from math import ceil
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from infra.commands.options import JsonOption
from infra.commands.require_stack import need_servers
from infra.terminal import shown
from shared.broker import dead_letters, topology
from shared.broker.dead_letter import DeadLetter
from shared.broker.depth import depth
from shared.broker.publisher import Publisher
from shared.errors import Code, MessageError, NotFound
from shared.runtime.settings import BrokerSettings
from shared.s3.store import S3Store
from shared.uploads.messages import RestoreTask
from shared.uploads.retry_failed import reopen

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Dead letters: messages that could not be processed.",
)
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
COLUMNS = ("id", "queue", "code", "at", "detail")


@app.command("list")
def list_(queue: QueueOption = None, as_json: JsonOption = False) -> None:
    """The oldest thousand of each queue."""
    letters = dead_letters.letters(need_servers(), _known(queue))
    if as_json:
        print(json.dumps([_as_dict(letter) for letter in letters], indent=2))
        return
    table = Table()
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for letter in letters:
        cells = [shown(getattr(letter, column)) for column in COLUMNS]
        table.add_row(*cells)
    Console(markup=False).print(table)


@app.command()
def show(
    ident: Annotated[str, typer.Argument(metavar="ID")], as_json: JsonOption = False
) -> None:
    """One message: its reason, its headers, its bytes."""
    fields = _as_dict(dead_letters.find(need_servers(), ident))
    if as_json:
        print(json.dumps(fields, indent=2))
        return
    for name, value in fields.items():
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
    store = S3Store(settings)
    publisher = Publisher(settings)

    def prepare(letter: DeadLetter) -> None:
        task = _task(letter)
        if task is not None:
            reopen(task, store, publisher, settings, datetime.now(UTC))

    def act(ids: Collection[str] | None, queue: str | None) -> int:
        return dead_letters.retry(settings, ids, queue, prepare)

    try:
        moved = _act(settings, idents, every, queue, act)
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

    def act(ids: Collection[str] | None, queue: str | None) -> int:
        return dead_letters.drop(settings, ids, queue)

    dropped = _act(settings, idents, every, queue, act)
    print(json.dumps({"dropped": dropped}) if as_json else f"{dropped} dropped")


def _act(
    settings: BrokerSettings,
    idents: list[str] | None,
    every: bool,
    queue: str | None,
    act: Callable[[Collection[str] | None, str | None], int],
) -> int:
    """Call `act` for the letters that the options name; the number that it acted on."""
    if bool(idents) == every:
        raise typer.BadParameter("name the messages by their ids, or say --all")
    _known(queue)
    if idents:
        _check(idents, dead_letters.letters(settings, queue))
        return act(idents, queue)
    # As many rounds as there are letters now: one that fails again meanwhile is not
    # taken over and over.
    sizes = depth(settings)
    queues = topology.ALL if queue is None else (queue,)
    most = max(sizes[topology.dead_queue(name)] for name in queues)
    rounds = ceil(most / dead_letters.LIMIT)
    return sum(act(None, queue) for _ in range(rounds))


def _check(idents: list[str], letters: list[DeadLetter]) -> None:
    """Raise `NotFound` for an id that no letter has."""
    known = {letter.id for letter in letters}
    for ident in idents:
        if ident not in known:
            raise NotFound(
                Code.BAD_MESSAGE,
                f"no dead message {ident!r}; `darkroom dead list` shows them",
            )


def _known(queue: str | None) -> str | None:
    if queue is None or queue in topology.ALL:
        return queue
    raise typer.BadParameter(f"{queue!r} is not one of {', '.join(topology.ALL)}")


def _task(letter: DeadLetter) -> RestoreTask | None:
    """The task of a letter from a queue of tasks, if it can be read."""
    if letter.queue not in topology.RESTORE:
        return None
    try:
        return RestoreTask.decode(letter.body)
    except MessageError:
        return None


def _as_dict(letter: DeadLetter) -> dict[str, Any]:
    """A letter for JSON; a body that is not text is Base64."""
    fields: dict[str, Any] = {
        "id": letter.id,
        "queue": letter.queue,
        "code": letter.code,
        "detail": letter.detail,
        "at": letter.at,
        "headers": dict(letter.headers),
    }
    try:
        fields["body"] = letter.body.decode()
    except UnicodeDecodeError:
        fields["body_base64"] = b64encode(letter.body).decode()
    return fields
