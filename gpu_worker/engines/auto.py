"""The engines of a machine without CUDA: ncnn for the models that it has, ONNX Runtime
for those with a graph here, torch for the others.
"""

from __future__ import annotations

import importlib.util
import threading

from gpu_worker.engines import architectures
from gpu_worker.engines.base import Engine
from gpu_worker.engines.ncnn_engine import NcnnEngine
from shared.errors import Missing
from shared.models import Model
from shared.runtime.installation import how_to_add
from shared.runtime.settings import EngineSettings

TORCH_PACKAGES = ("torch", "spandrel")


class AutoEngine(NcnnEngine):
    """The ncnn engine, which leaves some models to others. Their libraries are imported
    when a model first needs them.
    """

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings)
        self._others: dict[str, Engine] = {}
        self._importing = threading.Lock()

    def serving(self, model: Model) -> Engine:
        """The engine that runs `model`. Raises `Missing` naming the extra to install
        when `model` needs torch and it is not there.
        """
        if model.file("ncnn-bin") is not None:
            return self
        library = "onnxruntime" if _runs_on_onnxruntime(model) else "torch"
        with self._importing:
            if library not in self._others:
                self.check(model)
                self._others[library] = self._make(library)
            return self._others[library]

    def check(self, model: Model) -> None:
        if model.file("ncnn-bin") is not None or _runs_on_onnxruntime(model):
            return
        specs = [importlib.util.find_spec(package) for package in TORCH_PACKAGES]
        if None in specs:
            raise Missing(f"model {model.name} needs PyTorch", how_to_add("torch"))

    def _make(self, library: str) -> Engine:
        if library == "onnxruntime":
            from gpu_worker.engines.onnx_engine import OnnxEngine

            return OnnxEngine(self._settings)
        from gpu_worker.engines.torch_engine import TorchEngine

        return TorchEngine(self._settings, "cpu")


def _runs_on_onnxruntime(model: Model) -> bool:
    has_library = importlib.util.find_spec("onnxruntime") is not None
    return has_library and architectures.has_graph(model)
