"""The ONNX Runtime engine: networks whose graph is shipped here and whose weights come
from the official file, without PyTorch.

It computes on the CPU, or on whatever execution providers the setting `onnx_providers`
names.
"""

from __future__ import annotations

from typing import cast

from gpu_worker import models
from gpu_worker.engines import architectures, onnx_graphs, weight_files
from gpu_worker.engines.architectures import Architecture
from gpu_worker.engines.base import HoleFiller, Network
from gpu_worker.engines.cache import ModelCache
from gpu_worker.engines.lama import LamaInpainter
from gpu_worker.engines.onnx_networks import OnnxNetwork, OnnxPictureNetwork
from gpu_worker.engines.onnx_session import (
    ENGINE,
    Session,
    device_name,
    open_session,
    providers_of,
)
from gpu_worker.pixels import memory
from shared.errors import Code, Missing, PermanentError
from shared.models import Model
from shared.runtime.installation import how_to_add
from shared.runtime.settings import EngineSettings

ROOMY_BYTES = 8_000_000_000
"""Where this much memory is free, a second network stays loaded."""


class OnnxEngine:
    """The engine of the networks that have a graph here."""

    name = ENGINE
    lanes = 1
    batch = 1

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._providers = providers_of(settings)
        self.device = device_name(self._providers)
        is_roomy = memory.available_bytes() > ROOMY_BYTES
        self._cache: ModelCache[OnnxNetwork | OnnxPictureNetwork | HoleFiller] = (
            ModelCache(
                capacity=2 if is_roomy else 1,
                device=self.device,
            )
        )

    def check(self, model: Model) -> None:
        if not architectures.has_graph(model):
            raise Missing(f"model {model.name} needs PyTorch", how_to_add("torch"))

    def load(self, model: Model) -> Network:
        def read() -> OnnxNetwork:
            return OnnxNetwork(*self._loaded(model, "tiles"))

        return cast(Network, self._cache.get(model.name, read))

    def load_picture_network(self, model: Model) -> OnnxPictureNetwork:
        def read() -> OnnxPictureNetwork:
            return OnnxPictureNetwork(*self._loaded(model, "picture"))

        return cast(OnnxPictureNetwork, self._cache.get(model.name, read))

    def load_hole_filler(self, model: Model) -> HoleFiller:
        def read() -> LamaInpainter:
            return LamaInpainter(model, self._settings)

        return cast(LamaInpainter, self._cache.get(model.name, read))

    def free_bytes(self) -> int:
        half = memory.available_bytes() // 2
        return min(self._settings.inference_memory_bytes, half)

    def _loaded(self, model: Model, takes: str) -> tuple[Session, Architecture]:
        """The session of a model whose files are verified. Raises
        `PermanentError(model_corrupt)` where the weights do not fit the graph.
        """
        known = architectures.of(model)
        if known is None or not architectures.has_graph(model) or known.takes != takes:
            detail = (
                f"model {model.name} is not what its step needs: {model.architecture} "
                f"is no network for a {takes.removesuffix('s')}, or has no graph here"
            )
            raise PermanentError(Code.MODEL_CORRUPT, detail)
        models.verify(model, self._settings)
        path = models.locate(model, "weights", self._settings)
        if known.is_whole_graph:
            session = open_session(
                model, str(path), {}, self._settings, self._providers
            )
            return session, known
        state = weight_files.read(path)
        try:
            graph, weights = onnx_graphs.fitting(known.graphs, state)
        except onnx_graphs.Unfit as error:
            detail = (
                f"model {model.name}: {path.name} does not fit its entry, {error}; "
                "another variant runs with DARKROOM_ENGINE=torch"
            )
            raise PermanentError(Code.MODEL_CORRUPT, detail) from error
        session = open_session(
            model, onnx_graphs.graph(graph), weights, self._settings, self._providers
        )
        return session, known
