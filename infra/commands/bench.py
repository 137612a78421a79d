"""`darkroom bench …`: figures of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from infra.bench import lanes, pipeline, simulated, throughput
from infra.bench.command import bench_command
from infra.bench.own_servers import own_servers
from infra.commands.options import JsonLinesOption, JsonOption
from infra.commands.require_stack import need_servers
from infra.demo.samples import samples

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Figures of this machine, with their spread.",
)


def count(text: str) -> Any:
    """An option that is a positive number."""
    return typer.Option(help=text, min=1)


@app.command("pipeline")
def pipeline_command(
    photos: Annotated[int, count("Photos to send, one after another.")] = 15,
    as_json: JsonOption = False,
) -> None:
    """Overhead from PUT to result beyond the inference itself, on an idle stack."""
    settings = need_servers()
    figures = pipeline.measure(settings, photos)
    if as_json:
        print(json.dumps(figures.as_dict()))
        return
    side = figures.side_px
    low, high = figures.overhead_ms_low, figures.overhead_ms_high
    print(f"{figures.photos} photos of {side}×{side} px, one at a time")
    print(
        f"overhead   median {figures.overhead_ms_median:.0f} ms  ({low:.0f} to {high:.0f})"
    )
    print(f"inference  median {figures.inference_ms_median:.0f} ms")
    print(f"total      median {figures.total_ms_median:.0f} ms")


@app.command("throughput")
def throughput_command(
    photos: Annotated[int, typer.Option(help="Photos of the backlog.", min=3)] = 200,
    side: Annotated[int, typer.Option(help="Their side in pixels.", min=16)] = 96,
    workflow: Annotated[str, typer.Option(help="What is done to them.")] = "enhance",
    as_json: JsonOption = False,
) -> None:
    """Photos a second of a backlog through the running stack, beside the engine alone."""
    settings = need_servers()
    figures = throughput.measure(settings, photos, side, workflow)
    if as_json:
        print(json.dumps(figures.as_dict()))
        return
    side = figures.side_px
    low, high = figures.ratio_low, figures.ratio_high
    print(f"{figures.photos} photos of {side}×{side} px through {figures.workflow}")
    print(f"engine alone  {figures.engine_per_s:.2f} photos/s")
    print(f"pipeline      {figures.pipeline_per_s:.2f} photos/s")
    print(f"ratio         {figures.ratio:.3f}  ({low:.3f} to {high:.3f})")


@app.command("lanes")
def lanes_command(
    device_ms: Annotated[
        float, typer.Option(help="Time of the device for a photo.", min=0)
    ] = 60,
    rtt_ms: Annotated[
        float, typer.Option(help="Round trip to the store, beyond its own.", min=0)
    ] = 20,
    photos: Annotated[int, typer.Option(help="Photos of the backlog.", min=20)] = 120,
    side: Annotated[int, typer.Option(help="Their side in pixels.", min=16)] = 96,
    workers: Annotated[int, count("Workers, each with a device of its own.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """How busy workers keep a device that sleeps in place of computing, before a far
    store, on servers of its own.
    """
    lanes.own_store_only()
    task = lanes.Task(photos, side, device_ms, rtt_ms, workers)
    with own_servers() as environment:
        figures = lanes.measure(environment, task)
    if as_json:
        print(json.dumps(figures.as_dict()))
        return
    print(f"{photos} photos of {side}×{side} px, {workers} workers")
    print(f"device       {device_ms:g} ms a photo, store {rtt_ms:g} ms away")
    print(f"pipeline     {figures.photos_per_s:.2f} photos/s")
    print(f"device busy  {figures.device_busy:.3f}")
    print(f"cores busy   {figures.cores_busy:.3f}  (load before: {figures.load:.2f})")


@app.command("simulate")
def simulate_command(
    device_ms: Annotated[
        float, typer.Option(help="Time of the device for a photo.", min=1)
    ] = 500,
    photos: Annotated[int, typer.Option(help="Photos of each load.", min=10)] = 40,
    workers: Annotated[int, count("Workers, each with a device of its own.")] = 1,
    as_json: JsonLinesOption = False,
) -> None:
    """How far `darkroom simulate` is from a real run at three loads, predicted before
    they are measured, with a device that sleeps, on servers of its own.
    """
    lanes.own_store_only()
    with own_servers() as environment:
        for predicted_s, result in simulated.measure(
            environment, device_ms, photos, workers
        ):
            if result is None:
                print(f"predicted: mean wait {predicted_s:.2f} s", file=sys.stderr)
            elif as_json:
                print(json.dumps(result.as_dict()), flush=True)
            else:
                print(
                    f"load {result.load:g}: mean {result.measured_mean_s:g} s measured, {result.predicted_mean_s:g} s "
                    f"predicted ({result.off:+.0%}); p95 {result.measured_p95_s:g} s and {result.predicted_p95_s:g} s",
                    flush=True,
                )


@app.command("engine")
def engine_command(
    folder: Annotated[
        Path | None, typer.Option(help="Photos to measure with; samples without it.")
    ] = None,
    workflows: Annotated[str, typer.Option(help="By commas.")] = "fast,enhance",
    engines: Annotated[
        str, typer.Option(help="By commas; those that are missing are left out.")
    ] = "realesrgan,ncnn,torch",
    rounds: Annotated[int, count("Counted rounds after a warm-up.")] = 5,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw the ratios into this PNG.")
    ] = None,
    as_json: JsonLinesOption = False,
) -> None:
    """Our engines beside the official code."""
    options: dict[str, object] = {
        "workflows": workflows,
        "engines": engines,
        "rounds": rounds,
        "plot_path": str(plot or ""),
        "as_json": as_json,
    }
    with _folder(folder) as photos:
        command = bench_command("engine", options | {"folder": str(photos)})
        raise typer.Exit(subprocess.run(command, check=False).returncode)


@app.command("breakdown")
def breakdown_command(
    folder: Annotated[
        Path | None, typer.Option(help="Photos to measure with; samples without it.")
    ] = None,
    workflows: Annotated[str, typer.Option(help="By commas.")] = "fast,enhance",
    rounds: Annotated[int, count("Counted rounds after a warm-up.")] = 5,
    as_json: JsonLinesOption = False,
) -> None:
    """Where the time of our own convolutions goes."""
    options: dict[str, object] = {
        "names": workflows,
        "rounds": rounds,
        "as_json": as_json,
    }
    with _folder(folder) as photos:
        command = bench_command("breakdown", options | {"folder": str(photos)})
        raise typer.Exit(subprocess.run(command, check=False).returncode)


@app.command("metrics")
def metrics_command(
    rounds: Annotated[int, count("Rounds after a warm-up.")] = 7,
    workflow: Annotated[str, typer.Option(help="What is done to the photo.")] = "fast",
    as_json: JsonOption = False,
) -> None:
    """What metrics and scrapes cost, beside the work on one small photo."""
    command = bench_command(
        "metrics", {"rounds": rounds, "workflow": workflow, "as_json": as_json}
    )
    raise typer.Exit(subprocess.run(command, check=False).returncode)


@app.command("handlers")
def handlers_command(
    uploads: Annotated[int, count("Photos of 1 MB a round.")] = 50,
    rounds: Annotated[int, count("Rounds.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Uploads a core and second through `on_upload`, beside plain boto3, on servers of
    its own.
    """
    _run("handlers", as_json=as_json, uploads=uploads, rounds=rounds)


@app.command("recorder")
def recorder_command(
    events: Annotated[int, count("Log events a round.")] = 6000,
    rounds: Annotated[int, count("Counted rounds after a warm-up.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Log rows a second from the broker into PostgreSQL, beside `executemany`, on
    servers of its own.
    """
    _run("recorder", as_json=as_json, events=events, rounds=rounds)


@app.command("backlog")
def backlog_command(
    messages: Annotated[int, count("Restore tasks that pile up.")] = 100_000,
    as_json: JsonOption = False,
) -> None:
    """Memory of each process while a queue piles up and is worked off, on servers of
    its own.
    """
    _run("backlog", as_json=as_json, messages=messages)


@app.command("sweep")
def sweep_command(
    objects: Annotated[int, count("Uploads that were restored.")] = 100_000,
    as_json: JsonOption = False,
) -> None:
    """Requests, time and memory of passes over a full bucket, on servers of its own;
    making it takes minutes.
    """
    _run("sweep", as_json=as_json, objects=objects)


@app.command("api")
def api_command(
    rows: Annotated[int, count("Rows of the log.")] = 1_000_000,
    seconds: Annotated[
        float, typer.Option(help="For each kind of request in a round.", min=0.01)
    ] = 1.0,
    as_json: JsonOption = False,
) -> None:
    """Tickets a second and a page of a long log over HTTP, beside `/healthz`, on
    servers of its own.
    """
    _run("api", as_json=as_json, rows=rows, seconds=seconds)


@app.command("tiles")
def tiles_command(
    side: Annotated[int, typer.Option(help="Of a square picture [px].", min=1)] = 6928,
    rounds: Annotated[int, count("Rounds of either way.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Time and memory of cutting a picture into tiles of every scale: 48 megapixels, if
    you do not say otherwise.
    """
    options = {"side": side, "rounds": rounds, "as_json": as_json}
    command = bench_command("tiles", options)
    raise typer.Exit(subprocess.run(command, check=False).returncode)


@app.command("credentials")
def credentials_command(
    rounds: Annotated[int, count("Signatures of each picture.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Time and memory of content credentials, by the signer of DARKROOM_C2PA_CERTS."""
    command = bench_command("credentials", {"rounds": rounds, "as_json": as_json})
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def _run(bench: str, **options: object) -> NoReturn:
    """Run a bench of the handlers on servers of its own, and exit with its status."""
    command = bench_command(bench, options)
    with own_servers() as environment:
        done = subprocess.run(command, check=False, env=environment)
    raise typer.Exit(done.returncode)


@contextmanager
def _folder(chosen: Path | None) -> Iterator[Path]:
    """The folder that was chosen, or one with the samples."""
    with tempfile.TemporaryDirectory() as temporary:
        if chosen is not None:
            yield chosen
            return
        folder = Path(temporary)
        for number, sample in enumerate(samples()):
            suffix = Path(sample.key).suffix
            (folder / f"{number}{suffix}").write_bytes(sample.data)
        yield folder
