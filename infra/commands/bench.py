"""`darkroom bench …`: figures of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from infra.bench import pipeline, throughput
from infra.bench.own_servers import own_servers
from infra.commands.require_stack import need_servers
from infra.demo.samples import samples

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Figures of this machine, with their spread.",
)


@app.callback()
def _bench() -> None:
    """Figures of this machine, with their spread."""


@app.command("pipeline")
def pipeline_command(
    photos: Annotated[
        int, typer.Option(help="Photos to send, one after another.", min=1)
    ] = 15,
    as_json: Json = False,
) -> None:
    """Overhead from PUT to result beyond the inference itself, on an idle stack."""
    settings = need_servers()
    figures = pipeline.measure(settings, photos)
    if as_json:
        print(json.dumps(figures.as_dict()))
        return
    print(
        f"{figures.photos} photos of {figures.side_px}×{figures.side_px} px, one at a time"
    )
    print(
        f"overhead   median {figures.overhead_ms_median:.0f} ms  "
        f"({figures.overhead_ms_low:.0f} to {figures.overhead_ms_high:.0f})"
    )
    print(f"inference  median {figures.inference_ms_median:.0f} ms")
    print(f"total      median {figures.total_ms_median:.0f} ms")


@app.command("engine")
def engine_command(
    folder: Annotated[
        Path | None, typer.Option(help="Photos to measure with; samples without it.")
    ] = None,
    workflows: Annotated[str, typer.Option(help="By commas.")] = "fast,enhance",
    engines: Annotated[
        str, typer.Option(help="By commas; those that are missing are left out.")
    ] = ("realesrgan,ncnn,torch"),
    rounds: Annotated[
        int, typer.Option(help="Counted rounds after a warm-up.", min=1)
    ] = 5,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw the ratios into this PNG.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line on stdout.")
    ] = False,
) -> None:
    """Our engines beside the official code."""
    given = [f"--workflows={workflows}", f"--engines={engines}", f"--rounds={rounds}"]
    given += [f"--plot={plot}"] if plot else []
    given += ["--json"] if as_json else []
    with tempfile.TemporaryDirectory() as made:
        if folder is None:
            folder = Path(made)
            for number, sample in enumerate(samples()):
                (folder / f"{number}{Path(sample.key).suffix}").write_bytes(sample.data)
        command = [
            sys.executable,
            "-P",
            "-m",
            "gpu_worker",
            "bench",
            "--folder",
            str(folder),
            *given,
        ]
        raise typer.Exit(subprocess.run(command, check=False).returncode)


@app.command("throughput")
def throughput_command(
    photos: Annotated[int, typer.Option(help="Photos of the backlog.", min=3)] = 200,
    side: Annotated[int, typer.Option(help="Their side in pixels.", min=16)] = 96,
    workflow: Annotated[str, typer.Option(help="What is done to them.")] = "enhance",
    as_json: Json = False,
) -> None:
    """Photos a second of a backlog through the running stack, beside the engine alone."""
    settings = need_servers()
    figures = throughput.measure(settings, photos, side, workflow)
    if as_json:
        print(json.dumps(figures.as_dict()))
        return
    print(
        f"{figures.photos} photos of {figures.side_px}×{figures.side_px} px through {figures.workflow}"
    )
    print(f"engine alone  {figures.engine_per_s:.2f} photos/s")
    print(f"pipeline      {figures.pipeline_per_s:.2f} photos/s")
    print(
        f"ratio         {figures.ratio:.3f}  ({figures.ratio_low:.3f} to {figures.ratio_high:.3f})"
    )


@app.command("handlers")
def handlers_command(
    uploads: Annotated[int, typer.Option(help="Photos of 1 MB a round.", min=1)] = 50,
    rounds: Annotated[int, typer.Option(help="Rounds.", min=1)] = 5,
    as_json: Json = False,
) -> None:
    """Uploads a core and second through `on_upload`, beside plain boto3, on servers of
    its own.
    """
    _of_handlers(
        "handlers", f"--uploads={uploads}", f"--rounds={rounds}", as_json=as_json
    )


@app.command("recorder")
def recorder_command(
    events: Annotated[int, typer.Option(help="Log events a round.", min=1)] = 6000,
    rounds: Annotated[
        int, typer.Option(help="Counted rounds after a warm-up.", min=1)
    ] = 3,
    as_json: Json = False,
) -> None:
    """Log rows a second from the broker into PostgreSQL, beside `executemany`, on
    servers of its own.
    """
    _of_handlers(
        "recorder", f"--events={events}", f"--rounds={rounds}", as_json=as_json
    )


@app.command("backlog")
def backlog_command(
    messages: Annotated[
        int, typer.Option(help="Restore tasks that pile up.", min=1)
    ] = 100_000,
    as_json: Json = False,
) -> None:
    """Memory of each process while a queue piles up and is worked off, on servers of
    its own.
    """
    _of_handlers("backlog", f"--messages={messages}", as_json=as_json)


@app.command("sweep")
def sweep_command(
    objects: Annotated[
        int, typer.Option(help="Uploads that were restored.", min=1)
    ] = 100_000,
    as_json: Json = False,
) -> None:
    """Requests, time and memory of passes over a full bucket, on servers of its own;
    making it takes minutes.
    """
    _of_handlers("sweep", f"--objects={objects}", as_json=as_json)


@app.command("api")
def api_command(
    rows: Annotated[int, typer.Option(help="Rows of the log.", min=1)] = 1_000_000,
    seconds: Annotated[
        float, typer.Option(help="For each kind of request in a round.", min=0.01)
    ] = 1.0,
    as_json: Json = False,
) -> None:
    """Tickets a second and a page of a long log over HTTP, beside `/healthz`, on
    servers of its own.
    """
    _of_handlers("api", f"--rows={rows}", f"--seconds={seconds}", as_json=as_json)


def _of_handlers(bench: str, *arguments: str, as_json: bool) -> None:
    command = [
        sys.executable,
        "-P",
        "-m",
        "handlers",
        "bench",
        bench,
        *arguments,
        *(["--json"] if as_json else []),
    ]
    with own_servers() as environment:
        status = subprocess.run(command, check=False, env=environment).returncode
    raise typer.Exit(status)
