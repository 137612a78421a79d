"""Arguments, rounds and printing of the engine bench."""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gpu_worker.bench.bench_process import REFERENCE, EngineProcess, Request
from gpu_worker.bench.figures import Run, difference, figures, matmul_peak_flops
from gpu_worker.bench.plot import plot

COLUMNS = (
    "workflow",
    "engine",
    "images_per_s",
    "input_mpx_per_s",
    "ratio_to_reference",
    "ratio_low",
    "ratio_high",
    "parity_max",
    "parity_mean",
    "tile_max",
    "tile_mean",
    "tflops",
    "share_of_matmul_peak",
    "peak_rss_bytes",
)
TILE_PX = {"fast": 64, "anime": 96, "enhance": 64}
"""A small tile, so that the pictures have seams, for the comparison with the whole."""
NEEDS = {"ncnn": "ncnn", "torch": "torch", REFERENCE: "realesrgan"}


def main(argv: list[str]) -> int:
    """Exit status 1 when an engine failed."""
    options = _options(argv)
    photos = [
        path.read_bytes() for path in sorted(options.folder.iterdir()) if path.is_file()
    ]
    if not photos:
        print(f"no photo in {options.folder}", file=sys.stderr)
        return 2
    names = [
        name
        for name in options.engines.split(",")
        if importlib.util.find_spec(NEEDS[name])
    ]
    peak_flops = matmul_peak_flops()
    lines = []
    for workflow in options.workflows.split(","):
        runs = _measure(workflow, names, photos, options.rounds)
        lines += [
            figures(run, runs.get(REFERENCE), peak_flops) for run in runs.values()
        ]
    _print(lines, options.json)
    if options.plot:
        plot(lines, options.plot)
    return 1 if any("fault" in line for line in lines) else 0


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="darkroom bench engine", description=__doc__)
    parser.add_argument(
        "--folder",
        type=Path,
        required=True,
        help="photos; 8-bit grey or colour, upright",
    )
    parser.add_argument("--workflows", default="fast,enhance", help="comma-separated")
    parser.add_argument(
        "--engines",
        default="realesrgan,ncnn,torch",
        help="comma-separated; missing ones are left out",
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="counted rounds after a warm-up"
    )
    parser.add_argument("--plot", type=Path, help="also draw the ratios into this PNG")
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line on stdout"
    )
    return parser.parse_args(argv)


def _measure(
    workflow: str, names: list[str], photos: list[bytes], rounds: int
) -> dict[str, Run]:
    """All engines in turn, photo by photo, so that a machine whose speed drifts treats
    them alike.
    """
    area = sum(_area(data) for data in photos)
    runs = {name: Run(workflow, name, area) for name in names}
    with ExitStack() as stack:
        processes = {name: stack.enter_context(EngineProcess(name)) for name in names}
        for number in range(rounds + 1):
            for name, run in runs.items():
                _one_round(run, processes[name], photos, number == 0)
            print(f"{workflow}: round {number} of {rounds}", file=sys.stderr)
        for name, run in runs.items():
            if not run.fault and name != REFERENCE:
                _tiled(run, processes[name], photos[0])
    return runs


def _one_round(
    run: Run, process: EngineProcess, photos: list[bytes], warm_up: bool
) -> None:
    if run.fault:
        return
    answers = [process.ask(Request(run.workflow, data)) for data in photos]
    run.fault = next((answer.fault for answer in answers if answer.fault), "")
    if not run.fault and not warm_up:
        run.seconds.append([answer.seconds for answer in answers])
        run.answers = answers


def _tiled(run: Run, process: EngineProcess, data: bytes) -> None:
    tiled = process.ask(Request(run.workflow, data, TILE_PX.get(run.workflow, 96)))
    if not tiled.fault:
        run.tile_max, run.tile_mean = difference(tiled.pixels, run.answers[0].pixels)


def _area(data: bytes) -> int:
    with Image.open(io.BytesIO(data)) as image:
        return image.width * image.height


def _print(lines: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        for line in lines:
            print(json.dumps(line))
        return
    print("  ".join(f"{column:>12.12}" for column in COLUMNS))
    for line in lines:
        print(
            "  ".join(f"{_text(line.get(column)):>12}" for column in COLUMNS),
            line.get("fault", ""),
        )


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
