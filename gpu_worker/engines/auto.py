"""The engines of a machine without a GPU: ncnn for the models that it has, torch for
the others.
"""

from __future__ import annotations

import importlib.util
import threading

from gpu_worker.engines.base import Engine
from gpu_worker.engines.ncnn_engine import NcnnEngine
from shared.errors import Missing
from shared.models import Model
from shared.runtime.installation import how_to_add
from shared.runtime.settings import EngineSettings

TORCH_PACKAGES = ("torch", "spandrel")


class AutoEngine(NcnnEngine):
    """The ncnn engine, which leaves some models to torch. torch is imported when a
    model first needs it.
    """

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings)
        self._torch: Engine | None = None
        self._importing = threading.Lock()

    def serving(self, model: Model) -> Engine:
        """The engine that runs `model`. Raises `Missing` naming the extra to install
        when `model` needs torch and it is not there.
        """
        if model.file("ncnn-bin") is not None:
            return self
        with self._importing:
            if self._torch is None:
                self._torch = self._make_torch(model)
            return self._torch

    def check(self, model: Model) -> None:
        if model.file("ncnn-bin") is not None:
            return
        specs = [importlib.util.find_spec(package) for package in TORCH_PACKAGES]
        if None in specs:
            raise Missing(f"model {model.name} needs PyTorch", how_to_add("torch"))

    def _make_torch(self, model: Model) -> Engine:
        self.check(model)
        from gpu_worker.engines.torch_engine import TorchEngine

        return TorchEngine(self._settings, "cpu")
