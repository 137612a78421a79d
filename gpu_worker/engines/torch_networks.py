"""Networks in PyTorch: on tiles of a photo, and on whole pictures."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gpu_worker.engines import architectures, compat
from gpu_worker.engines.base import OutOfMemory
from gpu_worker.engines.device_faults import within_memory
from gpu_worker.engines.graphs import Graphs, capture
from gpu_worker.engines.quantise import GREY_WEIGHTS
from gpu_worker.photo import Pixels
from gpu_worker.pixels import memory
from shared.errors import Code, PermanentError
from shared.models import Model

Floats = NDArray[np.float32]
Run = Callable[[torch.Tensor], torch.Tensor]


class TorchNetwork:
    """A network that takes tiles."""

    kernels = "torch"

    def __init__(self, model: Model, descriptor: Any, device: torch.device) -> None:
        _check_pictures(model, descriptor)
        self.model = model
        self.bytes_per_px = architectures.bytes_per_px(model, "torch")
        self._descriptor = descriptor
        self._device = device
        self._half = device.type == "cuda" and bool(descriptor.supports_half)
        self._runs: dict[torch.dtype, Run] = {}

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:  # noqa: ARG002 - one call at a time
        half = self._half and windows[0].dtype == np.uint8
        return within_memory(lambda: self._upscale(windows, half), self._release)

    @torch.inference_mode()
    def _upscale(self, windows: Sequence[Pixels], half: bool) -> list[Pixels]:
        dtype = torch.float16 if half else torch.float32
        top = float(np.iinfo(windows[0].dtype).max)
        whole = torch.from_numpy(np.stack(windows)).to(self._device)
        batch = _to_batch(whole, dtype)
        # In place, here and below: a window's floats are most of the memory in use.
        output = self._run(dtype)(batch.div_(top))
        if not torch.isfinite(output.sum(dtype=torch.float32)):
            if half:
                return self._upscale(windows, half=False)
            raise _invalid(self.model)
        output = output.float().clamp_(0, 1)
        is_grey = whole.shape[3] == 1
        if is_grey:
            output = _to_grey(output)
        levels = output.mul_(top).round_().permute(0, 2, 3, 1)
        pixels = levels.to(whole.dtype, memory_format=torch.contiguous_format)
        return list(_on_host(pixels).numpy())

    def _run(self, dtype: torch.dtype) -> Run:
        """The network in one precision, made when it is first needed."""
        if dtype not in self._runs:
            self._runs[dtype] = self._make_run(dtype)
        return self._runs[dtype]

    def _make_run(self, dtype: torch.dtype) -> Run:
        network = self._descriptor.model
        is_cuda = self._device.type == "cuda"
        if is_cuda or dtype != torch.float32:
            # A copy; the file's own values stay on the host.
            network = copy.deepcopy(network).to(self._device, dtype)
        network.to(memory_format=torch.channels_last)
        run: Run = partial(compat.unclamped(self._descriptor), network)
        return Graphs(run, capture) if is_cuda else run

    def _release(self) -> bool:
        """Release cached memory, and say whether that may help."""
        had_graphs = False
        for run in self._runs.values():
            if isinstance(run, Graphs):
                had_graphs |= run.clear()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return had_graphs


def _to_batch(whole: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """(n, h, w, 1 or 3) -> (n, 3, h, w) of `dtype`, channels last; a copy."""
    planes = whole.permute(0, 3, 1, 2)
    colours = planes.expand(-1, 3, -1, -1)
    return colours.to(dtype, memory_format=torch.channels_last)


def _to_grey(output: torch.Tensor) -> torch.Tensor:
    weights = output.new_tensor(GREY_WEIGHTS).view(1, 3, 1, 1)
    return (output * weights).sum(1, keepdim=True)


class TorchPictureNetwork:
    """A network that takes a whole picture, in fp32: DDColor overflows in fp16."""

    def __init__(self, model: Model, descriptor: Any, device: torch.device) -> None:
        known = architectures.of(model)
        found = descriptor.architecture.id
        if known is None or known.takes != "picture" or known.spandrel != found:
            wanted = "a network for whole pictures" if known is None else known.spandrel
            raise _unfit(model, wanted, found)
        self.model = model
        self._known = known
        self._network = descriptor.model.to(device)
        self._device = device

    def run(self, picture: Floats) -> Floats:
        """As `engines.PictureNetwork.run`."""
        height, width, _ = picture.shape
        needed = height * width * architectures.bytes_per_px(self.model, "torch")
        # Linux would kill this process, not refuse.
        if self._device.type == "cpu" and needed > memory.available_bytes():
            raise OutOfMemory(f"{needed:,} bytes for {width} x {height} px")
        return within_memory(lambda: self._run(picture), lambda: False)

    @torch.inference_mode()
    def _run(self, picture: Floats) -> Floats:
        black, white = self._known.input_range
        planes = _to_planes(picture, self._device)
        found = self._network(
            planes * (white - black) + black,
            **self._known.arguments,
        )
        # Some give their inner pictures beside the result.
        output = found[0][0] if isinstance(found, tuple) else found[0]
        if not torch.isfinite(output).all():
            raise _invalid(self.model)
        if self._known.gives == "picture":
            output = ((output - black) / (white - black)).clamp_(0, 1)
        return _to_picture(output)


def _to_planes(picture: Floats, device: torch.device) -> torch.Tensor:
    """(h, w, c) -> (1, c, h, w) on the device."""
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1))
    return torch.from_numpy(planes)[None].to(device)


def _to_picture(planes: torch.Tensor) -> Floats:
    """(c, h, w) on the device -> (h, w, c)."""
    picture = planes.permute(1, 2, 0).contiguous()
    found: Floats = picture.cpu().numpy()
    return found


def _on_host(pixels: torch.Tensor) -> torch.Tensor:
    """The pixels in pinned memory, which a GPU fills several times faster."""
    if pixels.device.type == "cpu":
        return pixels
    pinned = torch.empty(pixels.shape, dtype=pixels.dtype, pin_memory=True)
    return pinned.copy_(pixels)


def _check_pictures(model: Model, descriptor: Any) -> None:
    """Raises `PermanentError(model_corrupt)` for a network that does not take a colour
    picture to one of the model's scale.
    """
    purpose = descriptor.purpose
    channels = (descriptor.input_channels, descriptor.output_channels)
    scale = descriptor.scale
    takes_pictures = purpose in ("SR", "Restoration") and channels == (3, 3)
    if takes_pictures and scale == model.scale:
        return
    raise _unfit(
        model,
        f"colour pictures, scale {model.scale}",
        f"{purpose}, {channels[0]} to {channels[1]} channels, scale {scale}",
    )


def _unfit(model: Model, wanted: str, found: str) -> PermanentError:
    detail = f"model {model.name} is not what its entry says: {wanted}; it is {found}"
    return PermanentError(Code.MODEL_CORRUPT, detail)


def _invalid(model: Model) -> PermanentError:
    detail = f"model {model.name} gave NaN or infinity; the photo was not stored"
    return PermanentError(Code.INVALID_OUTPUT, detail)
