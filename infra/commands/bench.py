"""`darkroom bench …`: figures of a running stack."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from infra.bench import pipeline
from infra.demo.samples import samples
from shared.settings import Settings

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Figures of a running stack, with their spread.")


@app.callback()
def _bench() -> None:
    """Figures of a running stack, with their spread."""


@app.command("pipeline")
def pipeline_command(
    photos: Annotated[int, typer.Option(help="Photos to send, one after another.", min=1)] = 15,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Overhead from PUT to result beyond the inference itself, on an idle stack."""
    figures = pipeline.measure(Settings.load(), photos)
    if as_json:
        print(json.dumps(figures.as_dict()))
        return
    print(f"{figures.photos} photos of {figures.side_px}×{figures.side_px} px, one at a time")
    print(f"overhead   median {figures.overhead_ms_median:.0f} ms  "
          f"({figures.overhead_ms_low:.0f} to {figures.overhead_ms_high:.0f})")  # fmt: skip
    print(f"inference  median {figures.inference_ms_median:.0f} ms")
    print(f"total      median {figures.total_ms_median:.0f} ms")


@app.command("engine", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def engine_command(
    ctx: typer.Context,
    folder: Annotated[Path | None, typer.Option(help="Photos to measure with; samples without it.")] = None,
) -> None:
    """Our engines beside the official code: `--workflows --engines --rounds --plot FILE --json`."""
    with tempfile.TemporaryDirectory() as made:
        if folder is None:
            folder = Path(made)
            for number, sample in enumerate(samples()):
                (folder / f"{number}{Path(sample.key).suffix}").write_bytes(sample.data)
        command = [sys.executable, "-m", "gpu_worker", "bench", "--folder", str(folder), *ctx.args]
        raise typer.Exit(subprocess.run(command, check=False).returncode)
