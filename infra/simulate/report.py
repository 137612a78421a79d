"""Figures of a simulated run, and a page with its picture."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.simulate.fleet import HOUR_S, Fleet, Run

MILLION = 1_000_000
WIDTH, HEIGHT, LEFT, GAP = 900, 160, 70, 40
POINTS = 2000
"""A line has no more of them."""


@dataclass(frozen=True)
class Figures:
    """Seconds that photos waited (quantiles), and what the workers came to."""

    photos: int
    hours: float
    wait_p50_s: float
    wait_p95_s: float
    wait_p99_s: float
    most_workers: int
    worker_hours: float
    busy: float
    interruptions: int
    cost: float
    cost_per_million: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of `values` lies, the nearest one that there is."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def figures_of(run: Run, fleet: Fleet) -> Figures:
    photos = len(run.waits_s)
    hours = run.worker_s / HOUR_S
    cost = hours * fleet.price_per_h
    p50, p95, p99 = (quantile(run.waits_s, share) for share in (0.5, 0.95, 0.99))
    return Figures(
        photos=photos,
        hours=round(run.end_s / HOUR_S, 2),
        wait_p50_s=round(p50, 2),
        wait_p95_s=round(p95, 2),
        wait_p99_s=round(p99, 2),
        most_workers=max((workers for _, workers, _ in run.history), default=0),
        worker_hours=round(hours, 2),
        busy=round(run.busy_s / run.worker_s, 3) if run.worker_s else 0.0,
        interruptions=run.interruptions,
        cost=round(cost, 2),
        cost_per_million=round(cost / photos * MILLION, 2),
    )


def write_page(path: Path, run: Run, figures: Figures) -> None:
    """An HTML page with the figures, the workers and the photos that wait, over time."""
    rows = "".join(
        f"<tr><td>{html.escape(name.replace('_', ' '))}<td>{value:,}"
        for name, value in figures.as_dict().items()
    )
    workers = [(at_s, workers) for at_s, workers, _ in run.history]
    waiting = [(at_s, waiting) for at_s, _, waiting in run.history]
    end_s = max(run.end_s, 1.0)
    picture = (
        f'<svg viewBox="0 0 {WIDTH} {2 * (HEIGHT + GAP)}" role="img">'
        f"{_line('workers', workers, end_s, GAP)}"
        f"{_line('photos that wait', waiting, end_s, HEIGHT + 2 * GAP)}</svg>"
    )
    path.write_text(
        "<!doctype html><meta charset=utf-8><title>Simulated workers</title>"
        "<style>body{font:16px sans-serif;max-width:900px;margin:2em auto}"
        "td{padding:2px 1em 2px 0}text{font-size:13px;fill:#555}"
        "polyline{fill:none;stroke:#4a76a8;stroke-width:1.5}"
        "line{stroke:#ccc}</style>"
        f"<h1>Simulated workers</h1>{picture}<table>{rows}</table>\n"
    )


def _line(
    title: str, points: Sequence[tuple[float, int]], end_s: float, top: int
) -> str:
    """One quantity over time, as steps."""
    most = max((value for _, value in points), default=0) or 1
    every = max(1, len(points) // POINTS)
    bottom = top + HEIGHT - GAP
    right = WIDTH - LEFT
    corners: list[str] = []
    before = float(bottom)
    for at_s, value in points[::every]:
        x = LEFT + at_s / end_s * right
        y = bottom - value / most * (bottom - top)
        corners += [f"{x:.1f},{before:.1f}", f"{x:.1f},{y:.1f}"]
        before = y
    return (
        f'<text x="0" y="{top - 12}">{title}</text>'
        f'<text x="0" y="{top + 5}">{most:,}</text><text x="0" y="{bottom}">0</text>'
        f'<line x1="{LEFT}" x2="{WIDTH}" y1="{bottom}" y2="{bottom}"/>'
        f'<text x="{LEFT}" y="{bottom + 16}">0 h</text>'
        f'<text x="{WIDTH}" y="{bottom + 16}" text-anchor="end">{end_s / HOUR_S:.1f} h</text>'
        f'<polyline points="{" ".join(corners)}"/>'
    )
