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

from gpu_worker.engines import compat, weights
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


class ReferenceNetwork:
    kernels = "realesrgan"

    def __init__(self, model: Model, upsampler: Any) -> None:
        self.model = model
        self.bytes_per_px = BYTES_PER_PX[model.architecture]
        self._upsampler = upsampler
        upsampler.model.register_forward_hook(self._check)

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:  # noqa: ARG002 - one call at a time
        return [
            within_memory(partial(self._one, window), self._release)
            for window in windows
        ]

    def _one(self, window: Pixels) -> Pixels:
        if window.dtype == np.uint16 and window.max() <= DARK:
            raise PermanentError(
                Code.UNSUPPORTED_MODE,
                f"the official code takes a 16-bit picture whose brightest value is {window.max()} for an 8-bit one; "
                "use DARKROOM_ENGINE=torch or ncnn for it",
            )
        grey = window.shape[2] == 1
        output, _ = self._upsampler.enhance(
            window[:, :, 0] if grey else window[:, :, ::-1]
        )
        found = (
            output[:, :, np.newaxis]
            if grey
            else np.ascontiguousarray(output[:, :, ::-1])
        )
        return cast(Pixels, found)

    def _check(self, _network: Any, _inputs: Any, output: torch.Tensor) -> None:
        """Straight after the network: the official code clamps next, and infinity
        becomes white.
        """
        if not torch.isfinite(output.sum(dtype=torch.float32)):
            raise PermanentError(
                Code.INVALID_OUTPUT,
                f"model {self.model.name} gave NaN or infinity; the photo was not stored",
            )

    def _release(self) -> bool:
        """The official code holds on to its last input and output, while smaller tiles
        need their memory.
        """
        self._upsampler.img = self._upsampler.output = None
        return False


class ReferenceEngine:
    name = "realesrgan"
    lanes = 1
    batch = 1

    def __init__(self, settings: EngineSettings) -> None:
        compat.realesrgan()  # at the start, where a missing package can be told
        self._settings = settings
        self._cuda = torch.cuda.is_available()
        if self._cuda:
            must_compute()
        self.device = torch.cuda.get_device_name() if self._cuda else "cpu"
        torch.set_num_threads(settings.worker_threads or os.cpu_count() or 1)
        self._cache: ModelCache[ReferenceNetwork] = ModelCache(capacity=1)

    def check(self, model: Model) -> None:
        if model.architecture not in BYTES_PER_PX:
            detail = f"the official Real-ESRGAN code does not run model {model.name}"
            raise Missing(detail, "set DARKROOM_ENGINE=torch for the workers")

    def load(self, model: Model) -> ReferenceNetwork:
        return self._cache.get(model.name, lambda: self._read(model))

    def free_bytes(self) -> int:
        """All there is, so that the official code sees whole pictures wherever it can."""
        return (
            int(torch.cuda.mem_get_info()[0])
            if self._cuda
            else memory.available_bytes()
        )

    def _read(self, model: Model) -> ReferenceNetwork:
        upsampler_of, rrdb_of, srvgg_of = compat.realesrgan()
        self.check(model)
        state = weights.load(model, self._settings)
        network = (
            _rrdb(rrdb_of, state)
            if model.architecture == "rrdb"
            else _srvgg(srvgg_of, state, model.scale)
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "verified.pth"
            torch.save({"params": state}, path)
            # fp16 where its command line takes it: on a GPU.
            upsampler = upsampler_of(
                model.scale,
                str(path),
                model=network,
                tile=0,
                pre_pad=0,
                half=self._cuda,
            )
        return ReferenceNetwork(model, upsampler)


def _rrdb(make: Any, state: weights.State) -> Any:
    """The number of blocks and the scale show in the names and shapes of the weights."""
    blocks = 1 + max(
        int(name.split(".")[1]) for name in state if name.startswith("body.")
    )
    scale = {3: 4, 12: 2, 48: 1}[state["conv_first.weight"].shape[1]]
    return make(3, 3, scale=scale, num_feat=64, num_block=blocks, num_grow_ch=32)


def _srvgg(make: Any, state: weights.State, scale: int) -> Any:
    last = max(int(name.split(".")[1]) for name in state)
    return make(3, 3, 64, (last - 2) // 2, scale, "prelu")
