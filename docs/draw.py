"""Draws those pictures of the documentation that show what a step does, from the
demo's photos.

    python docs/draw.py

writes `docs/pictures/repair.jpg` (before, mask, after; the damage is made) and
`docs/pictures/mild.jpg` (as the workflow leaves it, and with the tuning `mild`).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from gpu_worker import steps  # noqa: E402 - after the path
from gpu_worker.photo import Photo  # noqa: E402
from shared import workflows  # noqa: E402
from shared.runtime.settings import Settings  # noqa: E402
from shared.workflows import ResolvedStep  # noqa: E402
from tests.bench.repair import sheet  # noqa: E402
from tests.support.scratches import Pixels, photo  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
NAMES = ("portrait", "coffee")
ENLARGED = 2
GAP_PX = 8
QUALITY = 88


def main() -> None:
    """Write both pictures."""
    sheet().save(PICTURES / "repair.jpg", quality=QUALITY)
    rows = [_raw_and_mild(photo(name, ENLARGED)) for name in NAMES]
    width = max(len(row[0]) for row in rows)
    height = sum(len(row) + GAP_PX for row in rows) - GAP_PX
    drawn = Image.new("RGB", (width, height), "white")
    top = 0
    for row in rows:
        drawn.paste(Image.fromarray(row), (0, top))
        top += len(row) + GAP_PX
    drawn.save(PICTURES / "mild.jpg", quality=QUALITY)


def _raw_and_mild(pixels: Pixels) -> Pixels:
    """(h, w, 3) -> both beside each other, by the step that workflows end with."""
    gap = np.full((len(pixels), GAP_PX, 3), 255, np.uint8)
    return np.concatenate([pixels, gap, _finished(pixels)], 1)


def _finished(pixels: Pixels) -> Pixels:
    (step,) = (
        step
        for step in workflows.resolve("fast", {"tuning": "mild"}).steps
        if step.kind == "finish"
    )
    tools = steps.Tools(Settings(), lambda _: None)
    plain = ResolvedStep(step.kind, None, step.params)
    finished = steps.run(Photo(pixels), plain, None, tools)  # type: ignore[arg-type]
    return finished.photo.pixels.astype(np.uint8)


if __name__ == "__main__":
    main()
