"""The bench as a picture: speed against the official code, one bar an engine, its
spread as a line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from infra.bench.engine_process import REFERENCE

WIDTH = 900
LEFT, RIGHT, TOP, BOTTOM = 190, 120, 70, 30
TEXT_LEFT = 20
BAR_PX = 34
ROW_PX = BAR_PX + 10

PAPER = "#fbfaf7"
INK = "#222222"
FAINT = "#8a857c"
REFERENCE_BAR = "#b9c7d8"
OWN_BAR = "#4a76a8"

TITLE = "Speed against the official code, end to end (1 = RealESRGANer)"


def plot(lines: list[dict[str, Any]], path: Path) -> None:
    """Write a PNG; lines without a ratio (no reference at hand) are left out."""
    rows = [line for line in lines if line.get("ratio_to_reference")]
    ends = [row["ratio_high"] for row in rows]
    highest = max(ends, default=1.0)
    scale = (WIDTH - LEFT - RIGHT) / highest
    height = TOP + ROW_PX * len(rows) + BOTTOM
    image = Image.new("RGB", (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((TEXT_LEFT, 16), TITLE, INK, ImageFont.load_default(20))
    for number, row in enumerate(rows):
        top = TOP + number * ROW_PX
        _draw_bar(draw, top, row, scale)
    one = LEFT + scale
    line = (one, TOP - 8, one, height - 20)
    draw.line(line, FAINT, 1)
    image.save(path)


def _draw_bar(
    draw: ImageDraw.ImageDraw, top: int, row: dict[str, Any], scale: float
) -> None:
    font = ImageFont.load_default(16)
    name = f"{row['workflow']} {row['engine']}"
    draw.text((TEXT_LEFT, top + 7), name, INK, font)
    ratio = row["ratio_to_reference"]
    right = LEFT + ratio * scale
    colour = REFERENCE_BAR if row["engine"] == REFERENCE else OWN_BAR
    draw.rectangle([LEFT, top, right, top + BAR_PX], fill=colour)
    low = LEFT + row["ratio_low"] * scale
    high = LEFT + row["ratio_high"] * scale
    middle = top + BAR_PX // 2
    draw.line([(low, middle), (high, middle)], INK, 2)
    draw.text((high + 8, top + 7), f"{ratio:.2f}", INK, font)
