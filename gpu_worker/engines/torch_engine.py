"""The PyTorch engine, on CUDA or on the CPU: runs any model that `spandrel` knows.

Pixels cross to the device as integers; the arithmetic around a network happens there.
On CUDA networks run in fp16 with channels last, except where that loses something:
16-bit photos, models that cannot, results that overflow.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from gpu_worker.engines import Network, OutOfMemory, compat, weights
from gpu_worker.engines.cache import ModelCache
from gpu_worker.engines.device_faults import must_compute, within_memory
from gpu_worker.engines.graphs import Graphs, capture
from gpu_worker.engines.quantise import GREY_WEIGHTS
from gpu_worker.photo import Pixels
from gpu_worker.pixels import memory
from shared.errors import Code, PermanentError
from shared.models import Model
from shared.runtime.settings import EngineSettings

BYTES_PER_PX = {"srvgg": 2_500, "rrdb": 18_000, "scunet": 10_000}
"""Measured on the CPU in fp32 (1,300, 14,400 and 6,700 at most), with a margin."""
UNKNOWN_BYTES_PER_PX = 100_000
"""Other architectures: transformers need most. Where it is too little, the ladder of
smaller tiles mends it.
"""

COLOUR_BYTES_PER_PX = 4_000
"""DDColor, per pixel of its square input: measured 2,900 to 3,300 at 512 and 960 px."""

CUDA_BATCH = 16
CUDA_SHARE = 0.9
SMALL_GPU_BYTES = 10_000_000_000
SMALL_GPU_WORK_BYTES = 1_900_000_000
"""On a GPU of the 8 GB class: x4plus tiles of 192 px with their overlap. Larger ones
were not measured there.
"""
ROOMY_BYTES = 8_000_000_000
"""Where this much memory is free, a second network stays loaded."""


class TorchNetwork:
    """A network from picture to picture."""

    kernels = "torch"

    def __init__(self, model: Model, descriptor: Any, device: torch.device) -> None:
        kind = (
            descriptor.purpose,
            descriptor.input_channels,
            descriptor.output_channels,
            descriptor.scale,
        )
        if kind not in (("SR", 3, 3, model.scale), ("Restoration", 3, 3, model.scale)):
            raise _unfit(
                model,
                f"colour pictures, scale {model.scale}",
                f"{kind[0]}, {kind[1]} to {kind[2]} channels, scale {kind[3]}",
            )
        self.model = model
        self.bytes_per_px = BYTES_PER_PX.get(model.architecture, UNKNOWN_BYTES_PER_PX)
        self._descriptor, self._device = descriptor, device
        self._half = device.type == "cuda" and bool(descriptor.supports_half)
        self._runs: dict[torch.dtype, Callable[[torch.Tensor], torch.Tensor]] = {}

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:  # noqa: ARG002 - one call at a time
        half = self._half and windows[0].dtype == np.uint8
        return within_memory(lambda: self._upscale(windows, half), self._release)

    @torch.inference_mode()
    def _upscale(self, windows: Sequence[Pixels], half: bool) -> list[Pixels]:
        dtype = torch.float16 if half else torch.float32
        top = float(np.iinfo(windows[0].dtype).max)
        whole = torch.from_numpy(np.stack(windows)).to(self._device)
        batch = (
            whole.permute(0, 3, 1, 2)
            .expand(-1, 3, -1, -1)
            .to(dtype, memory_format=torch.channels_last)
        )
        output = self._run(dtype)(batch.div_(top))
        if not torch.isfinite(output.sum(dtype=torch.float32)):
            if half:
                return self._upscale(windows, half=False)
            raise _invalid(self.model)
        output = output.float().clamp_(0, 1)
        if whole.shape[3] == 1:
            output = (output * output.new_tensor(GREY_WEIGHTS).view(1, 3, 1, 1)).sum(
                1, keepdim=True
            )
        pixels = (
            output.mul_(top)
            .round_()
            .permute(0, 2, 3, 1)
            .to(whole.dtype, memory_format=torch.contiguous_format)
        )
        return list(_on_host(pixels).numpy())

    def _run(self, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
        if dtype not in self._runs:
            call = compat.unclamped(self._descriptor)
            network = self._descriptor.model
            # copies; the file's own values stay on the host
            if self._device.type == "cuda" or dtype != torch.float32:
                network = copy.deepcopy(network).to(self._device, dtype)
            network.to(memory_format=torch.channels_last)
            run: Callable[[torch.Tensor], torch.Tensor] = partial(call, network)
            self._runs[dtype] = (
                Graphs(run, capture) if self._device.type == "cuda" else run
            )
        return self._runs[dtype]

    def _release(self) -> bool:
        held = [run.clear() for run in self._runs.values() if isinstance(run, Graphs)]
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return any(held)


class TorchColorizer:
    """A network from a grey picture to the colour channels of CIE Lab."""

    def __init__(self, model: Model, descriptor: Any, device: torch.device) -> None:
        if descriptor.architecture.id != "DDColor":
            raise _unfit(model, "DDColor", descriptor.architecture.id)
        self.model = model
        self._network, self._device = descriptor.model.to(device), device

    def ab(self, grey: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `engines.Colorizer.ab`. Always fp32: the architecture overflows in fp16."""
        needed = grey.shape[0] * grey.shape[1] * COLOUR_BYTES_PER_PX
        # Linux would kill us, not refuse
        if self._device.type == "cpu" and needed > memory.available_bytes():
            raise OutOfMemory(f"{needed:,} bytes for a square of {grey.shape[0]} px")
        return within_memory(lambda: self._ab(grey), lambda: False)

    @torch.inference_mode()
    def _ab(self, grey: NDArray[np.float32]) -> NDArray[np.float32]:
        planes = torch.from_numpy(np.ascontiguousarray(grey.transpose(2, 0, 1)))[
            None
        ].to(self._device)
        output = self._network(planes)[0]
        if not torch.isfinite(output).all():
            raise _invalid(self.model)
        found: NDArray[np.float32] = output.permute(1, 2, 0).contiguous().cpu().numpy()
        return found


class TorchFaceRestorer:
    """GFPGAN, from face to face.

    spandrel's own call feeds it 0..1 where it was trained on -1..1, and lets it draw
    its noise anew each time.
    """

    def __init__(self, model: Model, descriptor: Any, device: torch.device) -> None:
        if descriptor.architecture.id != "GFPGAN":
            raise _unfit(model, "GFPGAN", descriptor.architecture.id)
        self.model = model
        self._network, self._device = descriptor.model.to(device), device

    def restore(self, face: NDArray[np.float32]) -> NDArray[np.float32]:
        return within_memory(lambda: self._restore(face), lambda: False)

    @torch.inference_mode()
    def _restore(self, face: NDArray[np.float32]) -> NDArray[np.float32]:
        planes = torch.from_numpy(np.ascontiguousarray(face.transpose(2, 0, 1)))[
            None
        ].to(self._device)
        output = self._network(planes * 2 - 1, return_rgb=False, randomize_noise=False)[
            0
        ][0]
        if not torch.isfinite(output).all():
            raise _invalid(self.model)
        restored: NDArray[np.float32] = (
            ((output + 1) / 2).clamp_(0, 1).permute(1, 2, 0).contiguous().cpu().numpy()
        )
        return restored


class TorchEngine:
    name = "torch"
    lanes = 1

    def __init__(self, settings: EngineSettings, device: str | None = None) -> None:
        compat.spandrel()  # at the start, where a missing package can be told
        self._device = torch.device(
            device or ("cuda" if torch.cuda.is_available() else "cpu")
        )
        self._settings = settings
        if self._device.type == "cuda":
            must_compute()
            self.device = torch.cuda.get_device_name(self._device)
            torch.backends.cudnn.benchmark = True
            # fp32 is chosen where precision counts; TF32 has fp16's
            torch.backends.cudnn.allow_tf32 = False
        else:
            self.device = "cpu"
            torch.set_num_threads(settings.worker_threads or os.cpu_count() or 1)
        self.batch = CUDA_BATCH if self._device.type == "cuda" else 1
        roomy = memory.available_bytes() > ROOMY_BYTES
        self._cache: ModelCache[TorchNetwork | TorchColorizer | TorchFaceRestorer] = (
            ModelCache(capacity=2 if roomy else 1)
        )

    def check(self, model: Model) -> None:
        """Every model that spandrel knows runs here."""

    def load(self, model: Model) -> Network:
        network = self._cache.get(
            model.name, lambda: TorchNetwork(model, self._read(model), self._device)
        )
        return cast(Network, network)

    def load_colorizer(self, model: Model) -> TorchColorizer:
        network = self._cache.get(
            model.name, lambda: TorchColorizer(model, self._read(model), self._device)
        )
        return cast(TorchColorizer, network)

    def load_face_restorer(self, model: Model) -> TorchFaceRestorer:
        network = self._cache.get(
            model.name,
            lambda: TorchFaceRestorer(model, self._read(model), self._device),
        )
        return cast(TorchFaceRestorer, network)

    def free_bytes(self) -> int:
        if self._device.type == "cpu":
            return min(
                self._settings.inference_memory_bytes, memory.available_bytes() // 2
            )
        free, total = torch.cuda.mem_get_info(self._device)
        idle = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(
            self._device
        )
        usable = int((free + idle) * CUDA_SHARE)
        return usable if total > SMALL_GPU_BYTES else min(usable, SMALL_GPU_WORK_BYTES)

    def _read(self, model: Model) -> Any:
        return weights.network(weights.load(model, self._settings), model.name)


def _on_host(pixels: torch.Tensor) -> torch.Tensor:
    """Into pinned memory, which a GPU fills several times faster."""
    if pixels.device.type == "cpu":
        return pixels
    return torch.empty(pixels.shape, dtype=pixels.dtype, pin_memory=True).copy_(pixels)


def _unfit(model: Model, wanted: str, found: str) -> PermanentError:
    return PermanentError(
        Code.MODEL_CORRUPT,
        f"model {model.name} is not what its entry says: {wanted}; it is {found}",
    )


def _invalid(model: Model) -> PermanentError:
    return PermanentError(
        Code.INVALID_OUTPUT,
        f"model {model.name} gave NaN or infinity; the photo was not stored",
    )
