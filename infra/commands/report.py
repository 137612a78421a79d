"""`darkroom report TASK|JOB`: what a photo was, what was done to it and what came of it;
or how a batch ended.
"""

from __future__ import annotations

import json
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import typer
from rich.console import Console

from infra.client import DarkroomClient
from infra.commands.options import JsonOption
from infra.commands.tasks import connected
from infra.terminal import shown
from shared.errors import Code, NotFound

app = typer.Typer(add_completion=False)
console = Console(highlight=False, markup=False)


class Language(StrEnum):
    """Of a report's words."""

    EN = "en"
    ZH = "zh"


@app.command()
def report(
    ident: Annotated[
        str,
        typer.Argument(
            metavar="TASK|JOB",
            help="An id, as `darkroom tasks` or `darkroom jobs` shows it.",
        ),
    ],
    pdf: Annotated[
        Path | None,
        typer.Option(help="Write it to this file, as PDF/A; needs the extra report."),
    ] = None,
    lang: Annotated[Language, typer.Option(help="Of the PDF.")] = Language.EN,
    as_json: JsonOption = False,
) -> None:
    """The report about a photo or a batch: shown, or as PDF."""
    wanted = _uuid(ident)
    with connected() as client:
        kind, found = _found(client, wanted)
        if pdf is not None:
            client.save_report(kind, wanted, pdf, lang)
            console.print(shown(pdf), soft_wrap=True)
            return
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for line in _lines(found):
        console.print(shown(line), soft_wrap=True)


def _found(
    client: DarkroomClient, ident: str
) -> tuple[Literal["tasks", "ingests"], dict[str, Any]]:
    """The kind of thing that has this id, and its report. Raises `NotFound`."""
    with suppress(NotFound):
        return "tasks", client.report(ident)
    with suppress(NotFound):
        return "ingests", client.job(ident)
    detail = f"no task and no job {ident}; `darkroom tasks` and `darkroom jobs` show what there is"
    raise NotFound(Code.BAD_PARAMETER, detail)


def _lines(found: dict[str, Any], indent: str = "") -> list[str]:
    """Names and values, one a line; what is empty is left out."""
    lines = []
    for name, value in found.items():
        if value in (None, "", [], {}):
            continue
        if isinstance(value, dict):
            lines += [f"{indent}{name}", *_lines(value, indent + "  ")]
        elif isinstance(value, list):
            lines.append(f"{indent}{name}")
            lines += [f"{indent}  {_in_a_line(each)}" for each in value]
        else:
            lines.append(f"{indent}{name:20} {value}")
    return lines


def _in_a_line(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    told = [
        f"{name} {_in_a_line(each)}"
        for name, each in value.items()
        if each not in (None, "", [], {})
    ]
    return ", ".join(told)


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is no id; `darkroom tasks` and `darkroom jobs` show them"
        ) from error
