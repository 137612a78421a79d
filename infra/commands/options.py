"""Options that several commands share."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import typer

from infra.client import Priority

WorkflowOption = Annotated[
    str | None, typer.Option(help="Workflow; `darkroom workflows` lists them.")
]
ParamsOption = Annotated[
    str, typer.Option(help="Parameters as JSON: '{\"scale\": 2}'.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Nothing but JSON on stdout.")]
JsonLinesOption = Annotated[
    bool,
    typer.Option("--json", help="One JSON object a line on stdout, and nothing else."),
]


UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}


def bytes_of(text: str | None, option: str) -> float | None:
    """A number of bytes, such as 50MB or 500kB. Raises `typer.BadParameter`."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMG]?)B?(?:/S)?", text.upper())
    if found is None or float(found[1]) == 0:
        raise typer.BadParameter(
            f"{option} is a number of bytes, such as 50MB or 500kB"
        )
    return float(found[1]) * UNITS[found[2]]


def params_of(text: str) -> dict[str, Any]:
    """The parameters of `--params`. Raises `typer.BadParameter`."""
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"--params is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise typer.BadParameter("--params is a JSON object, such as '{\"scale\": 2}'")
    return given


def priority_of(text: str) -> Priority:
    """The priority of `--priority`. Raises `typer.BadParameter`."""
    if text == "interactive":
        return "interactive"
    if text == "bulk":
        return "bulk"
    raise typer.BadParameter("--priority is interactive or bulk")
