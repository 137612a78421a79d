"""`bench engine`: our engines beside the official code, round by round."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from infra.bench.engine_figures import Run, difference, figures, matmul_peak_flops
from infra.bench.engine_plot import plot
from infra.bench.engine_process import REFERENCE, EngineProcess, Request
from shared.runtime.settings import Settings

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
DEFAULT_TILE_PX = 96
TILE_PX = {"fast": 64, "anime": 96, "enhance": 64}
"""A small tile, so that the pictures have seams, for the comparison with the whole."""
NEEDS = {"ncnn": "ncnn", "torch": "torch", REFERENCE: "realesrgan"}


def run(
    settings: Settings,  # noqa: ARG001 - each engine's process loads its own
    folder: str,
    workflows: str,
    engines: str,
    rounds: int,
    plot_path: str,
    as_json: bool,
) -> int:
    """Measure on the photos of `folder`: 8-bit grey or colour, upright. Names are
    separated by commas, and engines that are missing are left out.

    The exit status is 1 where an engine failed.
    """
    paths = [path for path in sorted(Path(folder).iterdir()) if path.is_file()]
    if not paths:
        print(f"no photo in {folder}", file=sys.stderr)
        return 2
    photos = [path.read_bytes() for path in paths]
    names = [name for name in engines.split(",") if _is_installed(name)]
    lines = _lines(workflows.split(","), names, photos, rounds)
    _print(lines, as_json)
    if plot_path:
        plot(lines, Path(plot_path))
    return 1 if any("fault" in line for line in lines) else 0


def _lines(
    workflows: list[str], names: list[str], photos: list[bytes], rounds: int
) -> list[dict[str, Any]]:
    peak_flops = matmul_peak_flops()
    lines = []
    for workflow in workflows:
        runs = _measure(workflow, names, photos, rounds)
        reference = runs.get(REFERENCE)
        for run in runs.values():
            line = figures(run, reference, peak_flops)
            lines.append(line)
    return lines


def _is_installed(engine: str) -> bool:
    return importlib.util.find_spec(NEEDS[engine]) is not None


def _measure(
    workflow: str, names: list[str], photos: list[bytes], rounds: int
) -> dict[str, Run]:
    """All engines in turn, photo by photo, so that a machine whose speed drifts treats
    them alike.
    """
    area = sum(_area(data) for data in photos)
    runs = {name: Run(workflow, name, area) for name in names}
    with ExitStack() as stack:
        processes = {name: EngineProcess(name) for name in names}
        for process in processes.values():
            stack.enter_context(process)
        for number in range(rounds + 1):
            for name, run in runs.items():
                _one_round(run, processes[name], photos, is_warm_up=number == 0)
            print(f"{workflow}: round {number} of {rounds}", file=sys.stderr)
        for name, run in runs.items():
            if not run.fault and name != REFERENCE:
                _compare_tiled(run, processes[name], photos[0])
    return runs


def _one_round(
    run: Run, process: EngineProcess, photos: list[bytes], is_warm_up: bool
) -> None:
    if run.fault:
        return
    answers = [process.restore(Request(run.workflow, data)) for data in photos]
    faults = [answer.fault for answer in answers if answer.fault]
    if faults:
        run.fault = faults[0]
    elif not is_warm_up:
        run.seconds.append([answer.seconds for answer in answers])
        run.answers = answers


def _compare_tiled(run: Run, process: EngineProcess, data: bytes) -> None:
    tile_px = TILE_PX.get(run.workflow, DEFAULT_TILE_PX)
    request = Request(run.workflow, data, tile_px)
    tiled = process.restore(request)
    if tiled.fault:
        return
    whole = run.answers[0]
    gap_max, gap_mean = difference(tiled.pixels, whole.pixels)
    run.tile_max = gap_max
    run.tile_mean = gap_mean


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
        cells = [f"{_text(line.get(column)):>12}" for column in COLUMNS]
        print("  ".join(cells), line.get("fault", ""))


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    return str(value)
