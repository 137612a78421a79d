"""`darkroom simulate`: how many workers, how long photos would wait, and what it costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.commands.options import JsonOption
from infra.simulate import arrivals, report
from infra.simulate.fleet import Fleet, simulate

app = typer.Typer(add_completion=False)


def number(text: str, least: float = 0) -> Any:
    return typer.Option(help=text, min=least)


@app.command("simulate")
def simulate_command(
    trace: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="CSV of arrivals: a time (ISO 8601, or seconds), and the seconds of work, where known.",
        ),
    ] = None,
    days: Annotated[float, number("Days to make up, without a trace.", 0.01)] = 1,
    per_day: Annotated[int, number("An app's photos a day, most of them by day.")] = 0,
    archive: Annotated[int, number("An archive's photos, each night at 22:00.")] = 0,
    service_s: Annotated[float, number("What a photo takes a worker [s].", 1e-4)] = 2.0,
    spread: Annotated[float, number("Standard deviation of that, over it.")] = 0.5,
    overhead_s: Annotated[float, number("From upload to a free worker [s].")] = 0.1,
    start_s: Annotated[float, number("Until a new worker works [s].")] = 120,
    minimum: Annotated[int, typer.Option("--min", help="Fewest workers.", min=0)] = 0,
    maximum: Annotated[int, typer.Option("--max", help="Most workers.", min=1)] = 8,
    photos_per_worker: Annotated[
        int, number("Photos that wait for each before another starts.", 1)
    ] = 30,
    cooldown_s: Annotated[float, number("Idle until the last one leaves [s].")] = 300,
    scale_in_s: Annotated[float, number("Fewer were enough for so long [s].")] = 300,
    spot_per_h: Annotated[float, number("Interruptions of a worker, an hour.")] = 0,
    price: Annotated[float, number("Of a worker, an hour.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed, the same run.")] = 1,
    plot: Annotated[
        Path | None, typer.Option(help="Also write an HTML page with a picture.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Simulate workers that KEDA scales, as the Helm chart sets it up: the time that
    photos wait, workers over the day, cost. Nothing is started.
    """
    if trace is None and not per_day + archive:
        raise typer.BadParameter("name a --trace, or how many --per-day or --archive")
    if minimum > maximum:
        raise typer.BadParameter(f"--min {minimum} is more than --max {maximum}")
    made_up = [] if trace else arrivals.made_up(days, per_day, archive, seed)
    photos = arrivals.recorded(trace) if trace else made_up
    fleet = Fleet(
        service_s=service_s,
        service_spread=spread,
        overhead_s=overhead_s,
        start_s=start_s,
        minimum=minimum,
        maximum=maximum,
        photos_per_worker=photos_per_worker,
        cooldown_s=cooldown_s,
        scale_in_s=scale_in_s,
        spot_per_h=spot_per_h,
        price_per_h=price,
    )
    run = simulate(photos, fleet, seed)
    figures = report.figures_of(run, fleet)
    if plot:
        report.write_page(plot, run, figures)
    if as_json:
        print(json.dumps(figures.as_dict()))
        return
    print(f"{figures.photos:,} photos in {figures.hours:g} h")
    print(
        f"wait         p50 {figures.wait_p50_s:g} s, p95 {figures.wait_p95_s:g} s, p99 {figures.wait_p99_s:g} s"
    )
    print(
        f"workers      {figures.most_workers} at most, {figures.worker_hours:g} hours, busy {figures.busy:.0%}"
    )
    if figures.interruptions:
        print(f"taken away   {figures.interruptions}")
    print(
        f"cost         {figures.cost:,.2f}, {figures.cost_per_million:,.0f} a million photos"
    )
