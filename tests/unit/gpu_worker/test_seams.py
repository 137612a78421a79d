"""A large scan through x4plus on a GPU of 8 GB shows no seam: the plan of its real size,
a stand-in that sees as far as the overlap on every tile, the network itself where two
tiles meet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gpu_worker import tile_runner
from gpu_worker.engines.ncnn_engine import NcnnEngine
from gpu_worker.photo import Pixels
from gpu_worker.tiles import Tile, plan
from shared.models import Model, get
from shared.runtime.settings import Settings
from tests.support.pictures import difference, photo_like

WIDTH, HEIGHT = 12_000, 9_000
FREE_BYTES = 1_900_000_000
BYTES_PER_PX = 18_000
"""Those of the torch engine on a small GPU."""
X4PLUS = get("realesrgan-x4plus")
OVERLAP = X4PLUS.overlap_px


def far(pixels: Pixels) -> Pixels:
    """Each pixel from the two that lie an overlap away on a diagonal; beyond the border
    the border's.
    """
    height, width, _ = pixels.shape
    rows, columns = np.arange(height), np.arange(width)
    before = np.ix_(np.maximum(rows - OVERLAP, 0), np.maximum(columns - OVERLAP, 0))
    after = np.ix_(
        np.minimum(rows + OVERLAP, height - 1), np.minimum(columns + OVERLAP, width - 1)
    )
    seen: Pixels = pixels[before] ^ pixels[after]
    return seen


class SeesFar:
    """In place of x4plus, without its enlargement: the result is as large as the scan."""

    model: Model = X4PLUS.model_copy(update={"scale": 1})
    bytes_per_px = BYTES_PER_PX
    kernels = "stand-in"

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:
        return [far(window) for window in windows]


class SmallGpu:
    """Its memory and its batches."""

    name = device = "stand-in"
    lanes, batch = 1, 16

    def load(self, model: Model) -> SeesFar:
        return SeesFar()

    def check(self, model: Model) -> None: ...

    def free_bytes(self) -> int:
        return FREE_BYTES


def test_every_tile_of_a_large_scan_sees_an_overlap_beyond_its_core() -> None:
    """108 megapixels, and not one pixel differs from the uncut picture's."""
    scan: NDArray[np.uint8] = np.random.default_rng(0).integers(
        0, 256, (HEIGHT, WIDTH, 1), np.uint8
    )
    found, tile = tile_runner.upscale(
        scan, SeesFar(), SmallGpu(), Settings(), lambda done: None
    )
    assert tile["count"] > 1000
    assert np.array_equal(found, far(scan))


def neighbours() -> tuple[Tile, Tile]:
    """Two tiles side by side in the middle of the scan."""
    tiles = plan((WIDTH, HEIGHT), X4PLUS, 1, FREE_BYTES // BYTES_PER_PX).tiles
    left = min(
        tiles,
        key=lambda tile: (
            abs(tile.core.x1 - WIDTH // 2) + abs(tile.core.y0 - HEIGHT // 2)
        ),
    )
    (right,) = [
        tile
        for tile in tiles
        if (tile.core.x0, tile.core.y0) == (left.core.x1, left.core.y0)
    ]
    return left, right


def test_two_tiles_of_the_network_meet_without_a_seam() -> None:
    """Whole weights, on a strip across the seam: what each tile sees of it, and the strip
    uncut. What lies farther from the seam than the strip is as far from it as the
    overlap, which the test shows to be enough.
    """
    left, right = neighbours()
    seam, beside = left.core.x1, 16
    start, end = seam - OVERLAP - beside, seam + OVERLAP + beside
    strip = photo_like(24, end - start)
    network = NcnnEngine(Settings()).load(X4PLUS)

    def part(x0: int, x1: int) -> Pixels:
        return network.upscale([strip[:, x0 - start : x1 - start]], True)[0]

    whole = part(start, end)
    by_left = part(start, min(end, left.window.x1))
    by_right = part(max(start, right.window.x0), end)
    scale, middle = X4PLUS.scale, (seam - start) * X4PLUS.scale
    inside = slice(middle - beside * scale, middle + beside * scale)
    tiled = np.concatenate(
        [by_left[:, :middle], by_right[:, -(end - seam) * scale :]], axis=1
    )
    off = difference(tiled[:, inside], whole[:, inside])
    print(f"across the seam: max {off.max():.0f}, mean {off.mean():.5f} levels")
    assert off.max() <= 2
    assert off.mean() < 0.1
