"""Before and after, side by side, in one PNG that a person can open."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont, ImageOps

PANEL_PX = 360
GAP_PX = 16
CAPTION_PX = 30
PAPER, INK, FAINT = "#f7f5f0", "#222222", "#77736b"


@dataclass(frozen=True)
class Pair:
    """One photo before and after restoration, with a line about each; of a repair also
    the mask.
    """

    before: Image.Image
    after: Image.Image
    about_before: str
    about_after: str
    mask: Image.Image | None = None


def contact_sheet(pairs: list[Pair]) -> Image.Image:
    """One row a photo: all of it before and after, then the same detail before
    (enlarged plainly) and after; of a repair the mask, in place of the detail before.
    """
    width = 4 * PANEL_PX + 5 * GAP_PX
    row_px = PANEL_PX + CAPTION_PX + GAP_PX
    sheet = Image.new("RGB", (width, 60 + row_px * len(pairs)), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP_PX, 16), "Darkroom", INK, font=ImageFont.load_default(26))
    draw.text(
        (2 * PANEL_PX + 3 * GAP_PX, 24),
        "detail, one result pixel a pixel: before | after",
        FAINT,
        font=ImageFont.load_default(16),
    )
    for row, pair in enumerate(pairs):
        _draw_row(sheet, draw, 60 + row * row_px, pair)
    return sheet


def _draw_row(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, top: int, pair: Pair
) -> None:
    after = pair.after.convert("RGB")
    before = (
        ImageOps.exif_transpose(pair.before)
        .convert("RGB")
        .resize(after.size, Image.Resampling.BICUBIC)
    )
    third = _detail(before) if pair.mask is None else _whole(pair.mask)
    panels = [_whole(before), _whole(after), third, _detail(after)]
    for column, panel in enumerate(panels):
        left = GAP_PX + column * (PANEL_PX + GAP_PX)
        sheet.paste(
            panel,
            (
                left + (PANEL_PX - panel.width) // 2,
                top + (PANEL_PX - panel.height) // 2,
            ),
        )
    font = ImageFont.load_default(15)
    draw.text((GAP_PX, top + PANEL_PX + 5), pair.about_before, FAINT, font=font)
    draw.text(
        (PANEL_PX + 2 * GAP_PX, top + PANEL_PX + 5), pair.about_after, INK, font=font
    )
    if pair.mask is not None:
        place = (2 * PANEL_PX + 3 * GAP_PX, top + PANEL_PX + 5)
        draw.text(place, "mask: no pixel outside of it changed", FAINT, font=font)


def _whole(image: Image.Image) -> Image.Image:
    return ImageOps.contain(image, (PANEL_PX, PANEL_PX), Image.Resampling.LANCZOS)


def _detail(image: Image.Image) -> Image.Image:
    side = min(PANEL_PX, image.width, image.height)
    left, top = (image.width - side) // 2, (image.height - side) // 3
    return image.crop((left, top, left + side, top + side))
