"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Nothing but JSON on stdout.")]
JsonLinesOption = Annotated[
    bool,
    typer.Option("--json", help="One JSON object a line on stdout, and nothing else."),
]
