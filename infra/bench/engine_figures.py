"""From times and pixels to figures: ratios with their spread, parity, share of the
machine's peak.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from infra.bench.engine_process import Answer

FLOP_PER_PX = {"fast": 1.238e6, "anime": 11.41e6, "enhance": 35.85e6}
"""Floating-point operations (2 a multiply-add) of the network's convolutions per input
pixel, counted by hand.
"""
PEAK_SIDE = 2048


@dataclass
class Run:
    """One engine on one workflow: `seconds[round][photo]`."""

    workflow: str
    engine: str
    input_px: int
    seconds: list[list[float]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    tile_max: float | None = None
    tile_mean: float | None = None
    fault: str = ""

    def round_seconds(self) -> list[float]:
        return [sum(times) for times in self.seconds]


def figures(run: Run, reference: Run | None, peak_flops: float) -> dict[str, Any]:
    """One line of the table. Ratios are against the reference of the same round, above
    1 is faster than it.
    """
    if run.fault or not run.seconds:
        return {
            "workflow": run.workflow,
            "engine": run.engine,
            "fault": run.fault or "no run",
        }
    rounds = run.round_seconds()
    median_s = statistics.median(rounds)
    flops = FLOP_PER_PX.get(run.workflow, 0.0) * run.input_px / median_s
    found: dict[str, Any] = {
        "workflow": run.workflow,
        "engine": run.engine,
        "device": run.answers[0].device,
        "images_per_s": len(run.answers) / median_s,
        "input_mpx_per_s": run.input_px / median_s / 1e6,
        "peak_rss_bytes": max(answer.peak_rss_bytes for answer in run.answers),
        "tflops": flops / 1e12,
        "share_of_matmul_peak": flops / peak_flops,
        "tile_max": run.tile_max,
        "tile_mean": run.tile_mean,
        "ratio_to_reference": None,
        "ratio_low": None,
        "ratio_high": None,
        "parity_max": None,
        "parity_mean": None,
    }
    if reference is not None and reference.seconds:
        ratios = [
            theirs / ours
            for theirs, ours in zip(reference.round_seconds(), rounds, strict=True)
        ]
        found |= {
            "ratio_to_reference": statistics.median(ratios),
            "ratio_low": min(ratios),
            "ratio_high": max(ratios),
        }
        found |= _parity(run, reference)
    return found


def _parity(run: Run, reference: Run) -> dict[str, float]:
    largest = []
    means = []
    for ours, theirs in zip(run.answers, reference.answers, strict=True):
        gap_max, gap_mean = difference(ours.pixels, theirs.pixels)
        largest.append(gap_max)
        means.append(gap_mean)
    return {
        "parity_max": max(largest),
        "parity_mean": statistics.fmean(means),
    }


def difference(one: np.ndarray | None, other: np.ndarray | None) -> tuple[float, float]:
    """Largest and mean absolute difference in 8-bit levels; a grey picture stands for
    three equal channels.
    """
    assert one is not None
    assert other is not None
    gap = np.abs(one.astype(np.float32) - other.astype(np.float32))
    return float(gap.max()), float(gap.mean())


def matmul_peak_flops(rounds: int = 5) -> float:
    """Multiply-adds a second of a float32 matrix product on this machine, times two;
    the best of `rounds`.
    """
    generator = np.random.default_rng(0)
    matrix = generator.random((PEAK_SIDE, PEAK_SIDE), dtype=np.float32)
    times = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - began_s)
    return 2 * PEAK_SIDE**3 / min(times)
