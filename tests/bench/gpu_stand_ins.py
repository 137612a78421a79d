"""What stands in on a machine that has not everything: random weights, the official
code's way of computing, a device of 8 GB.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from gpu_worker import models
from gpu_worker.engines import Engine, compat, weights
from gpu_worker.photo import Pixels
from gpu_worker.pixels import memory
from shared.models import Model, ModelFile, get
from shared.runtime.settings import Settings

OFFICIAL_BYTES_PER_PX = {"srvgg": 4_000, "rrdb": 30_000}
"""As `gpu_worker.engines.reference` counts them."""


def installed(name: str, settings: Settings) -> Model | None:
    """The model of this name; None where its files are not on this machine."""
    model = get(name)
    return model if models.is_present(model, settings) else None


def random(name: str, folder: Path) -> Model:
    """A network like the one of this name, with random weights."""
    compat.spandrel()
    torch.manual_seed(0)
    known = get(name)
    network: torch.nn.Module
    if known.architecture == "srvgg":
        from spandrel.architectures.Compact import Compact

        network = Compact(num_conv=16, upscale=known.scale)
    else:
        from spandrel.architectures.ESRGAN import ESRGAN

        network = ESRGAN(num_filters=64, num_blocks=23, scale=known.scale)
    return _stored(network, folder, known)


def colorizer(folder: Path, device: torch.device) -> Model:
    """DDColor with random weights; on the CPU its small variant. Its colours would reach
    1e14: the last layer is tamed, where its spectral norm does not undo that.
    """
    compat.spandrel()
    from spandrel_extra_arches.architectures.DDColor import DDColor

    torch.manual_seed(0)
    network = DDColor(
        encoder_name="convnext-t" if device.type == "cpu" else "convnext-l",
        num_output_channels=2,
        last_norm="Spectral",
        num_queries=100,
        num_scales=3,
        dec_layers=9,
    )
    with torch.no_grad():
        network.refine_net[0][0].weight_orig[:, :100] *= 1e-15
    return _stored(network, folder, get("ddcolor-modelscope"))


def _stored(network: torch.nn.Module, folder: Path, like: Model) -> Model:
    path = folder / f"random-{like.name}.pth"
    torch.save({"params": network.state_dict()}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    size = path.stat().st_size
    file = ModelFile(role="weights", sha256=digest, bytes=size, path=path.name)
    return like.model_copy(update={"name": path.stem, "files": [file]})


def official(settings: Settings, device: torch.device) -> Engine:
    """The official code, or its way of computing where it is not installed."""
    if importlib.util.find_spec("realesrgan") is None:
        return LikeOfficial(settings, device)
    from gpu_worker.engines.reference import ReferenceEngine

    return ReferenceEngine(settings)


@contextmanager
def official_flags() -> Iterator[None]:
    """cuDNN as the official code leaves it: no trials of its algorithms."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=True):
        yield


@contextmanager
def capped(device: torch.device, size: int, knows: bool) -> Iterator[None]:
    """A device of `size` bytes for PyTorch's allocator; one that says so, if it `knows`.

    On the CPU nothing changes.
    """
    if device.type == "cpu":
        yield
        return
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info(device)
    torch.cuda.set_per_process_memory_fraction(size / total)

    def told(_device: object = None) -> tuple[int, int]:
        return max(0, size - torch.cuda.memory_reserved(device)), size

    try:
        if knows:
            with patch.object(torch.cuda, "mem_get_info", told):
                yield
        else:
            yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


class LikeOfficial:
    """Computes as `RealESRGANer(half=True, tile=0)` does: whole pictures in half
    precision, in the network's plain layout, their arithmetic on the host.
    """

    name = "like RealESRGANer, which is not installed"
    lanes = 1
    batch = 1

    def __init__(self, settings: Settings, device: torch.device) -> None:
        self.device = str(device)
        self._settings = settings
        self._device = device
        self._networks: dict[str, Any] = {}

    def check(self, model: Model) -> None:
        """It runs every model."""

    def load(self, model: Model) -> Any:
        if model.name not in self._networks:
            self._networks[model.name] = _Network(model, self._settings, self._device)
        return self._networks[model.name]

    def free_bytes(self) -> int:
        if self._device.type == "cpu":
            return memory.available_bytes()
        free, _ = torch.cuda.mem_get_info(self._device)
        return int(free)


class _Network:
    kernels = "torch"

    def __init__(self, model: Model, settings: Settings, device: torch.device) -> None:
        self.model = model
        self.bytes_per_px = OFFICIAL_BYTES_PER_PX[model.architecture]
        self._device = device
        self._type = torch.float16 if device.type == "cuda" else torch.float32
        state = weights.load(model, settings)
        network = weights.network(state, model.name).model
        self._network = network.to(device, self._type)

    @torch.inference_mode()
    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:
        return [self._upscaled(window) for window in windows]

    def _upscaled(self, window: Pixels) -> Pixels:
        levels = window.astype(np.float32) / 255
        planes = np.ascontiguousarray(levels.transpose(2, 0, 1))
        batch = torch.from_numpy(planes)[None].to(self._device).to(self._type)
        output = self._network(batch)[0].float().cpu().clamp_(0, 1).numpy()
        pixels: Pixels = (output.transpose(1, 2, 0) * 255.0).round().astype(np.uint8)
        return pixels
