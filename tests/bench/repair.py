"""How well damage is found and filled: synthetic scratches over the demo's photos.

    python -m tests.bench.repair [--rounds 3] [--sheet FILE]

Prints, for each photo: the false area of the mask without damage; with damage the
recall (of all damaged pixels, and of those that it changed by more than 16 levels), the
area of the mask, and, inside the true damage, the PSNR of our filling beside Telea's and
Navier–Stokes of OpenCV. `--sheet` draws before, mask and after.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from gpu_worker.damage import detection, inpainting
from shared.runtime.settings import Settings
from tests.support.scratches import Mask, Pixels, photo, psnr, scratched

NAMES = ("portrait", "photographer", "cat", "coffee")
ENLARGED = 2
"""The demo's photos are small: they are enlarged plainly first."""
VISIBLE = 16
GAP_PX = 8


@dataclass(frozen=True)
class Figures:
    """Of one damaged photo."""

    recall: float
    visible_recall: float
    area: float
    ours_db: float
    telea_db: float
    navier_stokes_db: float
    seconds_per_megapixel: float


def main() -> None:
    """Print the table, and draw the sheet where one is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    print(
        "photo         clean  recall visible  area   ours  Telea     NS  s/MP of mask"
    )
    for name in NAMES:
        clean = photo(name, ENLARGED)
        false_area = _found(clean).mean()
        rounds = [_measured(clean, seed) for seed in range(options.rounds)]
        print(f"{name:13} {false_area:.3f} {_line(rounds)}", flush=True)
    if options.sheet:
        sheet().save(options.sheet, quality=88)


def _line(rounds: list[Figures]) -> str:
    mean = {
        name: float(np.mean([getattr(each, name) for each in rounds]))
        for name in Figures.__annotations__
    }
    return (
        f"{mean['recall']:7.3f} {mean['visible_recall']:7.3f} {mean['area']:5.3f} "
        f"{mean['ours_db']:6.2f} {mean['telea_db']:6.2f} "
        f"{mean['navier_stokes_db']:6.2f} {mean['seconds_per_megapixel']:6.0f}"
    )


def _found(pixels: Pixels) -> Mask:
    return detection.find(pixels, 0.5, Settings()).mask


def _filled(pixels: Pixels, mask: Mask) -> Pixels:
    inpainter = inpainting.SparseInpainter()
    filled = inpainting.repaired(pixels, mask, inpainter, Settings())
    return filled.astype(np.uint8)


def _measured(clean: Pixels, seed: int) -> Figures:
    damaged, truth = scratched(clean, seed)
    change = np.abs(damaged.astype(int) - clean).max(2)
    visible = truth & (change > VISIBLE)
    mask = _found(damaged)
    began_s = time.process_time()
    ours = _filled(damaged, truth)
    seconds = time.process_time() - began_s
    plain, holes = np.squeeze(damaged), truth.astype(np.uint8)
    usual = [
        cv2.inpaint(plain, holes, 3, method).reshape(clean.shape)
        for method in (cv2.INPAINT_TELEA, cv2.INPAINT_NS)
    ]
    return Figures(
        recall=float(mask[truth].mean()),
        visible_recall=float(mask[visible].mean()),
        area=float(mask.mean()),
        ours_db=psnr(ours, clean, truth),
        telea_db=psnr(usual[0].astype(np.uint8), clean, truth),
        navier_stokes_db=psnr(usual[1].astype(np.uint8), clean, truth),
        seconds_per_megapixel=seconds / truth.sum() * 1e6,
    )


def sheet() -> Image.Image:
    """Before, mask and after, a row a photo."""
    rows = []
    for name, seed in (("portrait", 6), ("cat", 4)):
        damaged, _ = scratched(photo(name, ENLARGED), seed)
        mask = _found(damaged)
        shown = np.where(mask, 255, 0).astype(np.uint8)
        panels = [damaged, shown[:, :, np.newaxis], _filled(damaged, mask)]
        rows.append(_beside([np.broadcast_to(p, damaged.shape) for p in panels]))
    width = max(row.shape[1] for row in rows)
    sheet = Image.new("RGB", (width, sum(len(row) + GAP_PX for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(Image.fromarray(row), (0, top))
        top += len(row) + GAP_PX
    return sheet


def _beside(panels: list[Pixels]) -> Pixels:
    gap = np.full((len(panels[0]), GAP_PX, 3), 255, np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], 1)


if __name__ == "__main__":
    main()
