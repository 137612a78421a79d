"""The PyTorch engine, on CUDA or on the CPU: runs any model that `spandrel` knows.

Pixels cross to the device as integers; the arithmetic around a network happens there.
On CUDA networks run in fp16 with channels last, except where that loses something:
16-bit photos, models that cannot, results that overflow.
"""

from __future__ import annotations

import importlib.util
import os
from functools import partial
from typing import Any, cast

import torch

from gpu_worker.engines import architectures, compat, device_memory, weights
from gpu_worker.engines.base import Engine, Network
from gpu_worker.engines.cache import ModelCache
from gpu_worker.engines.device_faults import must_compute
from gpu_worker.engines.torch_networks import TorchNetwork, TorchPictureNetwork
from gpu_worker.pixels import memory
from shared.errors import Missing
from shared.models import Model
from shared.runtime.installation import how_to_add
from shared.runtime.settings import EngineSettings

CUDA_BATCH = 16
CUDA_SHARE = 0.9
SMALL_GPU_BYTES = 10_000_000_000
SMALL_GPU_WORK_BYTES = 1_900_000_000
"""On a GPU of the 8 GB class: x4plus tiles of 192 px with their overlap. Larger ones
were not measured there.
"""
LARGE_GPU_WORK_BYTES = 32_000_000_000
"""On every GPU: PyTorch's nearest enlargement takes no tensor of 2**31 values, and those
of x4plus have 1,024 an input pixel, all windows of a call together.
"""
ROOMY_BYTES = 8_000_000_000
"""Where this much memory of the device is free, a second network stays loaded."""


class TorchEngine:
    """The engine of every model that spandrel knows."""

    name = "torch"
    lanes = 1

    def __init__(self, settings: EngineSettings, device: str | None = None) -> None:
        compat.spandrel()  # at the start, where a missing package can be reported
        has_cuda = settings.device != "cpu" and torch.cuda.is_available()
        kind = device or ("cuda" if has_cuda else "cpu")
        self._device = torch.device(kind)
        self._settings = settings
        self._whole_graphs: Engine | None = None
        if self._device.type == "cuda":
            self.device = _prepare_cuda(self._device)
            self.batch = CUDA_BATCH
        else:
            self.device = "cpu"
            self.batch = 1
            torch.set_num_threads(settings.worker_threads or os.cpu_count() or 1)
        is_roomy = device_memory.available_bytes(self._device) > ROOMY_BYTES
        self._cache: ModelCache[TorchNetwork | TorchPictureNetwork] = ModelCache(
            capacity=2 if is_roomy else 1,
            device=self.device,
            release=partial(device_memory.give_back, self._device),
        )

    def check(self, model: Model) -> None:
        """Raises `Missing` for a whole ONNX graph where ONNX Runtime is not installed;
        every model that spandrel knows runs here.
        """
        has_library = importlib.util.find_spec("onnxruntime") is not None
        if architectures.is_whole_graph(model) and not has_library:
            needed = f"model {model.name} needs ONNX Runtime"
            raise Missing(needed, how_to_add("worker"))

    def serving(self, model: Model) -> Engine:
        """This engine, but for a whole ONNX graph, which only ONNX Runtime reads."""
        if not architectures.is_whole_graph(model):
            return self
        self.check(model)
        from gpu_worker.engines.onnx_engine import OnnxEngine

        if self._whole_graphs is None:
            self._whole_graphs = OnnxEngine(self._settings)
        return self._whole_graphs

    def load(self, model: Model) -> Network:
        def read() -> TorchNetwork:
            return TorchNetwork(model, self._read(model), self._device)

        return cast(Network, self._cache.get(model.name, read))

    def load_mixed(self, model: Model, weak: Model, share: float) -> Network:
        def read() -> TorchNetwork:
            state = weights.load_mixed(model, weak, share, self._settings)
            network = weights.network(state, model.name)
            return TorchNetwork(model, network, self._device)

        return cast(Network, self._cache.get(f"{model.name} {share:g}", read))

    def load_picture_network(self, model: Model) -> TorchPictureNetwork:
        def read() -> TorchPictureNetwork:
            return TorchPictureNetwork(model, self._read(model), self._device)

        return cast(TorchPictureNetwork, self._cache.get(model.name, read))

    def free_bytes(self) -> int:
        if self._device.type == "cpu":
            half = memory.available_bytes() // 2
            return min(self._settings.inference_memory_bytes, half)
        _, total = torch.cuda.mem_get_info(self._device)
        usable = int(device_memory.available_bytes(self._device) * CUDA_SHARE)
        is_small = total <= SMALL_GPU_BYTES
        most = SMALL_GPU_WORK_BYTES if is_small else LARGE_GPU_WORK_BYTES
        return min(usable, most)

    def reset_peak(self) -> None:
        device_memory.reset_peak(self._device)

    def peak_bytes(self) -> int | None:
        return device_memory.peak_bytes(self._device)

    def _read(self, model: Model) -> Any:
        state = weights.load(model, self._settings)
        return weights.network(state, model.name)


def _prepare_cuda(device: torch.device) -> str:
    """The name of the GPU, which is seen to compute; cuDNN is set up for it."""
    must_compute()
    torch.backends.cudnn.benchmark = True
    # fp32 is chosen where precision counts; TF32 has that of fp16.
    torch.backends.cudnn.allow_tf32 = False
    return torch.cuda.get_device_name(device)
