"""A pyramid: a picture as JPEG tiles at every scale in one stored ZIP file, by which a
page or an IIIF viewer shows it at 1:1, however large it is.

The names in the ZIP are those of the IIIF Image API 3 (level 0), so that its entries
can be handed out as they are, by ranged reads. It is made band by band: beside a band
of tiles each scale holds at most one more.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from typing import IO

import numpy as np
from PIL import Image, ImageFilter

from gpu_worker.codec.copies import coloured, eight_bits, on_white, srgb_table
from gpu_worker.codec.preview import Converter
from gpu_worker.photo import Photo
from shared.runtime.heartbeat import own

TILE_PX = 512
"""Side of a tile."""
BAND_PX = 128
"""Rows that are in work at once, before they are tiles."""
MOST_WHOLE_PX = 1024
"""Longer side of the largest scale that is there in one piece, too."""
_QUALITY = 85
_CONTEXT = "http://iiif.io/api/image/3/context.json"

Size = tuple[int, int]
"""Width and height [px]."""


def write_pyramid(
    size: Size,
    bands: Iterable[Photo],
    out: IO[bytes],
    name: str,
    converter: Converter | None,
) -> None:
    """Write the pyramid of a picture into an empty file.

    `bands`: the picture from top to bottom, `BAND_PX` rows at a time. `name`: its id in
    `info.json`. Colours become sRGB, and what is transparent white.
    """
    with zipfile.ZipFile(out, "w") as archive:
        top = _Scale(archive, size, size, 1)
        _store(archive, "info.json", json.dumps(info(size, name)).encode())
        table = None
        for number, band in enumerate(bands):
            own().beat()
            if number == 0 and band.meta.icc:
                table = srgb_table(band, band.meta.icc, converter)
            top.add(_opaque(band, table))


def info(size: Size, name: str) -> dict[str, object]:
    """What the Image API says of the picture: its size, and which tiles there are."""
    width, height = size
    factors = factors_of(size)
    scaled = [scaled_to(size, factor) for factor in factors]
    whole = [each for each in scaled if max(each) <= MOST_WHOLE_PX]
    largest = whole[0]
    sizes = [{"width": each[0], "height": each[1]} for each in reversed(whole)]
    return {
        "@context": _CONTEXT,
        "id": name,
        "type": "ImageService3",
        "protocol": "http://iiif.io/api/image",
        "profile": "level0",
        "width": width,
        "height": height,
        "maxWidth": max(TILE_PX, largest[0]),
        "maxHeight": max(TILE_PX, largest[1]),
        "sizes": sizes,
        "tiles": [{"width": TILE_PX, "scaleFactors": factors}],
    }


def factors_of(size: Size) -> list[int]:
    """The scales: 1, 2, 4 … until the picture fits into one tile."""
    factors = [1]
    while max(scaled_to(size, factors[-1])) > TILE_PX:
        factors.append(2 * factors[-1])
    return factors


def scaled_to(size: Size, factor: int) -> Size:
    width, height = size
    return -(-width // factor), -(-height // factor)


class _Scale:
    """One scale of the picture, which hands every band on to the next, half as large."""

    def __init__(
        self, archive: zipfile.ZipFile, picture: Size, size: Size, factor: int
    ) -> None:
        self._archive = archive
        self._picture = picture
        self._size = size
        self._factor = factor
        self._top = 0
        self._waiting: list[Image.Image] = []
        self._whole: list[Image.Image] = []
        self._next: _Scale | None = None
        if max(size) > TILE_PX:
            smaller = scaled_to(picture, 2 * factor)
            self._next = _Scale(archive, picture, smaller, 2 * factor)

    def add(self, band: Image.Image) -> None:
        """Take the next rows: an even number of them, but for the last."""
        self._waiting.append(band)
        rows = sum(each.height for each in self._waiting)
        is_last = self._top + rows == self._size[1]
        if rows < TILE_PX and not is_last:
            return
        row = _joined(self._waiting)
        self._waiting = []
        self._store_tiles(row)
        if max(self._size) <= MOST_WHOLE_PX:
            self._whole.append(row)
            if is_last:
                self._store_whole(_joined(self._whole))
        self._top += rows
        if self._next:
            self._next.add(row.reduce(2))

    def _store_tiles(self, row: Image.Image) -> None:
        for left in range(0, row.width, TILE_PX):
            right = min(left + TILE_PX, row.width)
            region = self._region(left, right, row.height)
            name = f"{region}/{right - left},{row.height}/0/default.jpg"
            _store(self._archive, name, _jpeg(row.crop((left, 0, right, row.height))))

    def _region(self, left: int, right: int, rows: int) -> str:
        """Which part of the whole picture a tile shows."""
        width, height = self._picture
        x, y = left * self._factor, self._top * self._factor
        across = min(right * self._factor, width) - x
        down = min((self._top + rows) * self._factor, height) - y
        return f"{x},{y},{across},{down}"

    def _store_whole(self, picture: Image.Image) -> None:
        data = _jpeg(picture)
        width, height = self._size
        _store(self._archive, f"full/{width},{height}/0/default.jpg", data)
        is_largest = self._factor == 1 or (
            max(scaled_to(self._picture, self._factor // 2)) > MOST_WHOLE_PX
        )
        if is_largest:
            _store(self._archive, "full/max/0/default.jpg", data)


def _joined(rows: list[Image.Image]) -> Image.Image:
    if len(rows) == 1:
        return rows[0]
    height = sum(each.height for each in rows)
    joined = Image.new(rows[0].mode, (rows[0].width, height))
    top = 0
    for each in rows:
        joined.paste(each, (0, top))
        top += each.height
    return joined


def _opaque(
    band: Photo, table: ImageFilter.Color3DLUT | np.ndarray | None
) -> Image.Image:
    """A band in 8 bits, in sRGB, on white."""
    colours = coloured(eight_bits(band.pixels), table)
    if band.alpha is not None:
        colours = on_white(colours, eight_bits(band.alpha))
    if colours.shape[2] == 1:
        colours = colours[..., 0]
    return Image.fromarray(np.ascontiguousarray(colours))


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _store(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Add an entry, always with the same date: the same picture is the same file."""
    archive.writestr(zipfile.ZipInfo(name), data)
