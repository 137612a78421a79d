"""`darkroom drill`."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console

from infra.backup.drills import folder_of
from infra.commands.options import JsonOption
from infra.drill.drill import ALL, drill
from infra.drill.drill import named as named_scenarios
from infra.drill.protocol import Protocol
from infra.drill.scenarios import SCENARIOS
from infra.terminal import shown
from shared.runtime import telemetry
from shared.runtime.settings import Settings

app = typer.Typer(add_completion=False)
console = Console(stderr=True, highlight=False)


@app.command("drill")
def run(
    photos: Annotated[
        int,
        typer.Option(
            min=1,
            help="Photos that are restored again and compared; so many are made where there is no backup.",
        ),
    ] = 10,
    scenario: Annotated[
        str,
        typer.Option(
            help=f"Faults to make, by commas: {' '.join(sorted(SCENARIOS))}; or {ALL}."
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Lose a stack and come back from the backup, on a stack of its own; exit status 1
    where targets are missed or something is wrong.
    """
    try:
        scenarios = named_scenarios(scenario)
    except KeyError as error:
        raise typer.BadParameter(
            f"--scenario {error.args[0]!r} is none of {', '.join(SCENARIOS)} and {ALL}"
        ) from error
    settings = Settings.load()
    telemetry.configure(settings, "drill")
    with console.status("drill") as line:
        protocol = drill(settings, photos, scenarios, lambda part: line.update(part))
    page = protocol.write(folder_of(settings))
    if as_json:
        print(json.dumps(protocol.printed() | {"protocol": str(page)}))
    else:
        _print(protocol, str(page))
    if not protocol.passed:
        raise typer.Exit(1)


def _print(protocol: Protocol, page: str) -> None:
    out = Console(highlight=False, markup=False)
    out.print(f"RTO {protocol.rto_s} s (target {protocol.rto_target_s:.0f} s)")
    out.print(f"RPO {protocol.rpo_s} s (target {protocol.rpo_target_s:.0f} s)")
    out.print(
        f"{protocol.objects} objects, {protocol.rows} rows of the log; wrong checksums: "
        f"{protocol.checksum_mismatches}; {protocol.reruns} photos restored again: "
        f"{'identical' if protocol.reruns_identical else 'NOT identical'}",
        soft_wrap=True,
    )
    for made in protocol.scenarios:
        mark = "✓" if made.found else "✗"
        out.print(f"{mark} {shown(made.finding)}; do: {made.to_do}", soft_wrap=True)
    for finding in protocol.findings:
        if finding not in {made.finding for made in protocol.scenarios}:
            out.print(f"finding: {shown(finding)}", soft_wrap=True)
    out.print(f"protocol: {page}", soft_wrap=True)
