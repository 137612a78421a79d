"""The official code as an engine: `RealESRGANer` of the `realesrgan` package. The
others are checked against it.

What of it is dangerous is shut off here:
- `tile_process` catches `RuntimeError` (out of memory is one), prints it and pastes the
  previous tile: a wrong picture and no error. So `tile=0`; when a photo does not fit,
  our own tiles feed it smaller pictures.
- It downloads when it is handed a URL and unpickles what it is handed: it gets a file
  made here from verified weights.
- It works in BGR and guesses the bit depth from the brightest pixel: both are settled
  here.
- It prints: `compat` takes its `print` away.

`pre_pad=0`, as its command line does by default: the constructor's own default of 10
mirrored pixels changes the right and lower border.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from gpu_worker.engines import compat, device_memory, weights
from gpu_worker.engines.base import CPU
from gpu_worker.engines.cache import ModelCache
from gpu_worker.engines.device_faults import must_compute, within_memory
from gpu_worker.photo import Pixels
from gpu_worker.pixels import memory
from shared.errors import Code, Missing, PermanentError
from shared.models import Model
from shared.runtime.settings import EngineSettings

BYTES_PER_PX = {"srvgg": 4_000, "rrdb": 30_000}
DARK = 256
"""A 16-bit picture without a value above this is taken for an 8-bit one by the official
code.
"""
SCALES = {3: 4, 12: 2, 48: 1}
"""The scale of an `RRDBNet` by its input channels: below 4 it folds pixels into them."""


class ReferenceNetwork:
    """A network in the official code."""

    kernels = "realesrgan"

    def __init__(self, model: Model, upsampler: Any) -> None:
        self.model = model
        self.bytes_per_px = BYTES_PER_PX[model.architecture]
        self._upsampler = upsampler
        upsampler.model.register_forward_hook(self._check)

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:  # noqa: ARG002 - one call at a time
        outputs = []
        for window in windows:
            call = partial(self._upscaled, window)
            outputs.append(within_memory(call, self._release))
        return outputs

    def _upscaled(self, window: Pixels) -> Pixels:
        self._check_depth(window)
        if window.shape[2] == 1:
            grey, _ = self._upsampler.enhance(window[:, :, 0])
            return cast(Pixels, grey[:, :, np.newaxis])
        bgr, _ = self._upsampler.enhance(window[:, :, ::-1])
        return cast(Pixels, np.ascontiguousarray(bgr[:, :, ::-1]))

    def _check_depth(self, window: Pixels) -> None:
        """Raises `PermanentError(unsupported_mode)` for a picture whose depth the
        official code would guess wrong.
        """
        if window.dtype == np.uint16 and window.max() <= DARK:
            detail = (
                f"the official code takes a 16-bit picture whose brightest value is {window.max()} for an 8-bit one; "
                "use DARKROOM_ENGINE=torch or ncnn for it"
            )
            raise PermanentError(Code.UNSUPPORTED_MODE, detail)

    def _check(self, _network: Any, _inputs: Any, output: torch.Tensor) -> None:
        """Raises `PermanentError(invalid_output)` straight after the network: the
        official code clamps next, and infinity becomes white.
        """
        if not torch.isfinite(output.sum(dtype=torch.float32)):
            detail = f"model {self.model.name} gave NaN or infinity; the photo was not stored"
            raise PermanentError(Code.INVALID_OUTPUT, detail)

    def _release(self) -> bool:
        """Release the last input and output, which the official code holds on to, while
        smaller tiles need their memory.
        """
        self._upsampler.img = None
        self._upsampler.output = None
        return False


class ReferenceEngine:
    """The engine of the official Real-ESRGAN code."""

    name = "realesrgan"
    lanes = 1
    batch = 1

    def __init__(self, settings: EngineSettings) -> None:
        compat.realesrgan()  # at the start, where a missing package can be reported
        self._settings = settings
        self._cuda = settings.device != "cpu" and torch.cuda.is_available()
        self.device = CPU
        if self._cuda:
            must_compute()
            self.device = torch.cuda.get_device_name()
        torch.set_num_threads(settings.worker_threads or os.cpu_count() or 1)
        self._where = torch.device("cuda" if self._cuda else "cpu")
        self._cache: ModelCache[ReferenceNetwork] = ModelCache(
            capacity=1,
            device=self.device,
            release=partial(device_memory.give_back, self._where),
        )

    def check(self, model: Model) -> None:
        if model.architecture not in BYTES_PER_PX:
            detail = f"the official Real-ESRGAN code does not run model {model.name}"
            raise Missing(detail, "set DARKROOM_ENGINE=torch for the workers")

    def load(self, model: Model) -> ReferenceNetwork:
        self.check(model)

        def read() -> ReferenceNetwork:
            return self._made(model, weights.load(model, self._settings))

        return self._cache.get(model.name, read)

    def load_mixed(self, model: Model, weak: Model, share: float) -> ReferenceNetwork:
        self.check(model)

        def read() -> ReferenceNetwork:
            state = weights.load_mixed(model, weak, share, self._settings)
            return self._made(model, state)

        return self._cache.get(f"{model.name} {share:g}", read)

    def free_bytes(self) -> int:
        """All the memory that there is, so that the official code sees whole pictures
        wherever it can.
        """
        if not self._cuda:
            return memory.available_bytes()
        free, _ = torch.cuda.mem_get_info()
        return int(free)

    def reset_peak(self) -> None:
        device_memory.reset_peak(self._where)

    def peak_bytes(self) -> int | None:
        return device_memory.peak_bytes(self._where)

    def _made(self, model: Model, state: weights.State) -> ReferenceNetwork:
        upsampler_class, _, _ = compat.realesrgan()
        network = _network(model, state)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "verified.pth"
            torch.save({"params": state}, path)
            # fp16 where its command line takes it: on a GPU.
            upsampler = upsampler_class(
                model.scale,
                str(path),
                model=network,
                tile=0,
                pre_pad=0,
                half=self._cuda,
                device=self._where,
            )
        return ReferenceNetwork(model, upsampler)


def _network(model: Model, state: weights.State) -> Any:
    """The official code's network that `state` fits, its weights not loaded yet."""
    _, rrdb_class, srvgg_class = compat.realesrgan()
    if model.architecture == "rrdb":
        return _rrdb(rrdb_class, state)
    return _srvgg(srvgg_class, state, model.scale)


def _rrdb(make: Any, state: weights.State) -> Any:
    """An `RRDBNet` whose number of blocks and scale are those that the names and shapes
    of the weights show.
    """
    names = [name for name in state if name.startswith("body.")]
    last_block = max(int(name.split(".")[1]) for name in names)
    channels = state["conv_first.weight"].shape[1]
    return make(
        3,
        3,
        scale=SCALES[channels],
        num_feat=64,
        num_block=last_block + 1,
        num_grow_ch=32,
    )


def _srvgg(make: Any, state: weights.State, scale: int) -> Any:
    last_layer = max(int(name.split(".")[1]) for name in state)
    convolutions = (last_layer - 2) // 2
    return make(3, 3, 64, convolutions, scale, "prelu")
