"""The bench as a picture: speed against the official code, one bar an engine, its
spread as a line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

WIDTH, BAR_PX, LEFT, RIGHT, TOP = 900, 34, 190, 120, 70
PAPER, INK, FAINT, BAR, OWN = "#fbfaf7", "#222222", "#8a857c", "#b9c7d8", "#4a76a8"


def plot(lines: list[dict[str, Any]], path: Path) -> None:
    """Write a PNG; lines without a ratio (no reference at hand) are left out."""
    rows = [line for line in lines if line.get("ratio_to_reference")]
    most = max([line["ratio_high"] for line in rows], default=1.0)
    scale = (WIDTH - LEFT - RIGHT) / most
    image = Image.new("RGB", (WIDTH, TOP + (BAR_PX + 10) * len(rows) + 30), PAPER)
    draw = ImageDraw.Draw(image)
    title = "Speed against the official code, end to end (1 = RealESRGANer)"
    draw.text((20, 16), title, INK, ImageFont.load_default(20))
    for number, line in enumerate(rows):
        _bar(draw, TOP + number * (BAR_PX + 10), line, scale)
    draw.line([(LEFT + scale, TOP - 8), (LEFT + scale, image.height - 20)], FAINT, 1)
    image.save(path)


def _bar(
    draw: ImageDraw.ImageDraw, top: int, line: dict[str, Any], scale: float
) -> None:
    font, middle = ImageFont.load_default(16), top + BAR_PX // 2
    draw.text((20, top + 7), f"{line['workflow']} {line['engine']}", INK, font)
    ratio, colour = (
        line["ratio_to_reference"],
        BAR if line["engine"] == "realesrgan" else OWN,
    )
    draw.rectangle([LEFT, top, LEFT + ratio * scale, top + BAR_PX], fill=colour)
    low, high = LEFT + line["ratio_low"] * scale, LEFT + line["ratio_high"] * scale
    draw.line([(low, middle), (high, middle)], INK, 2)
    draw.text((high + 8, top + 7), f"{ratio:.2f}", INK, font)
