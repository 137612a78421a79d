"""`bench tiles`: a picture cut into tiles of every scale, from the pixels at hand and
from its PNG, and the memory that this takes beside the picture.

The picture is a stand-in: soft patches with grain, which deflate and compress about as
a photo does.
"""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Iterator
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gpu_worker.codec.png import write_png
from gpu_worker.codec.png_reader import PngReader
from gpu_worker.codec.pyramid import BAND_PX, Size, write_pyramid
from gpu_worker.photo import Metadata, Photo
from gpu_worker.pixels import memory, scratch
from infra.bench.figures import Figures, Spread, show
from shared.runtime.settings import Settings

PATCH_PX = 40
GRAIN = 6


def run(settings: Settings, side: int, rounds: int, as_json: bool) -> int:
    """Print the figures of a square picture of `side` pixels."""
    size = (side, side)
    with TemporaryFile(dir=settings.scratch_dir) as png:
        photo = _write_stand_in(size, png, settings)
        ways: dict[str, Callable[[], Iterator[Photo]]] = {
            "pixels at hand": lambda: _slices(photo),
            "stored PNG": lambda: _read(png),
        }
        rows = {
            name: _measured(size, bands, rounds, settings)
            for name, bands in ways.items()
        }
    given = {"megapixels": side * side / 1e6, "rounds": rounds}
    return show("tiles", given, rows, as_json)


def _write_stand_in(size: Size, file: IO[bytes], settings: Settings) -> Photo:
    """The picture, in a scratch file where it is large, and as a PNG."""
    width, height = size
    rng = np.random.default_rng(0)
    shape = (height // PATCH_PX + 2, width // PATCH_PX + 2, 3)
    patches = Image.fromarray(rng.integers(30, 220, shape, np.uint8))
    pixels = scratch.picture((height, width, 3), np.dtype(np.uint8), settings)
    for top in range(0, height, BAND_PX):
        rows = min(BAND_PX, height - top)
        box = (0, top / PATCH_PX, width / PATCH_PX, (top + rows) / PATCH_PX)
        soft = patches.resize((width, rows), Image.Resampling.BICUBIC, box=box)
        pixels[top : top + rows] = _grained(np.asarray(soft), rng)
    photo = Photo(pixels)
    write_png(photo, file, {}, settings.png_level)
    return photo


def _grained(soft: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    grain = rng.integers(-GRAIN, GRAIN + 1, soft.shape, np.int16)
    grained: NDArray[np.uint8] = (soft + grain).clip(0, 255).astype(np.uint8)
    return grained


def _slices(photo: Photo) -> Iterator[Photo]:
    for top in range(0, photo.height, BAND_PX):
        band = photo.pixels[top : top + BAND_PX]
        yield Photo(band)
        scratch.drop(band)


def _read(png: IO[bytes]) -> Iterator[Photo]:
    png.seek(0)
    return PngReader(png).bands(BAND_PX, Metadata())


def _measured(
    size: Size,
    bands: Callable[[], Iterator[Photo]],
    rounds: int,
    settings: Settings,
) -> Figures:
    """Peak memory is what comes on top of what was resident before; the time of the
    processor says what it takes on a machine with nothing else to do.
    """
    seconds = []
    cpu_s = []
    memory.give_back()
    memory.reset_peak()
    before = memory.peak_bytes()
    for _ in range(rounds):
        with TemporaryFile(dir=settings.scratch_dir) as out:
            began_s, cpu_began_s = time.perf_counter(), time.process_time()
            write_pyramid(size, bands(), out, "bench", None)
            seconds.append(time.perf_counter() - began_s)
            cpu_s.append(time.process_time() - cpu_began_s)
            length = out.seek(0, io.SEEK_END)
            with zipfile.ZipFile(out) as archive:
                entries = len(archive.namelist())
    return {
        "seconds": Spread.of(seconds),
        "cpu_s": Spread.of(cpu_s),
        "peak_mb": (memory.peak_bytes() - before) / 1e6,
        "entries": entries,
        "zip_mb": length / 1e6,
    }
