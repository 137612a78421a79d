"""Sessions of ONNX Runtime: a graph with its weights, on the execution providers that
the settings name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime

from gpu_worker.engines import architectures, weight_files
from gpu_worker.engines.base import CPU, Floats, OutOfMemory
from gpu_worker.pixels import memory
from shared.errors import Code, Missing, PermanentError, SettingsError
from shared.models import Model
from shared.runtime.settings import EngineSettings

ENGINE = "onnxruntime"
ALWAYS = "CPUExecutionProvider"
MEMORY_SIGNS = ("Failed to allocate memory", "out of memory", "bad_alloc", "OOM")
"""What ONNX Runtime and its providers say where memory is short."""
SILENT = 4
"""The level at which ONNX Runtime prints nothing: what fails is raised, too."""


class Session:
    """A graph with its weights, ready to run."""

    def __init__(
        self,
        model: Model,
        graph: bytes | str,
        weights: dict[str, Any],
        providers: Sequence[str],
        threads: int,
    ) -> None:
        self.model = model
        self.device = device_name(providers)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = SILENT
        # With patterns a size seen once keeps its buffers: half as much memory again.
        options.enable_mem_pattern = False
        # With an arena what one layer has freed is kept for none that needs it: a
        # twelfth more at the peak, and a second photo takes more than the first.
        options.enable_cpu_mem_arena = False
        # The session reads the arrays as long as it lives.
        self._weights = weights
        self._values = [
            onnxruntime.OrtValue.ortvalue_from_numpy(array)
            for array in weights.values()
        ]
        if weights:
            options.add_external_initializers(list(weights), self._values)
        self._session = onnxruntime.InferenceSession(
            graph,
            options,
            providers=list(providers),
        )

    @property
    def first_input(self) -> str:
        """The name of the graph's first input; a whole graph has one of its own."""
        return str(self._session.get_inputs()[0].name)

    def run(self, **planes: Floats) -> Floats:
        """The graph's first output. Raises as `engines.PictureNetwork.run`."""
        try:
            output: Floats = self._session.run(None, planes)[0]
        # Its exceptions share no class but this.
        except Exception as error:
            if any(sign in str(error) for sign in MEMORY_SIGNS):
                raise OutOfMemory(str(error).partition("\n")[0]) from error
            raise
        if not np.isfinite(output).all():
            detail = f"model {self.model.name} gave NaN or infinity; the photo was not stored"
            raise PermanentError(Code.INVALID_OUTPUT, detail)
        return output

    def providers(self) -> list[str]:
        """Who computes; ONNX Runtime leaves out what it could not start."""
        return list(self._session.get_providers())

    def check_memory(self, width: int, height: int) -> None:
        """Raises `OutOfMemory` where a picture of this size does not fit: Linux would
        kill this process, not refuse.
        """
        needed = width * height * architectures.bytes_per_px(self.model, ENGINE)
        if self.device == CPU and needed > memory.available_bytes():
            raise OutOfMemory(f"{needed:,} bytes for {width} x {height} px")


def device_name(providers: Sequence[str]) -> str:
    """What the record says about the device: `cpu`, or the provider asked first."""
    first = providers[0]
    return CPU if first == "CPUExecutionProvider" else first


def open_session(
    model: Model,
    graph: bytes | str,
    weights: weight_files.State,
    settings: EngineSettings,
    providers: list[str],
) -> Session:
    """A session on the providers. Raises `Missing` where the first of them does not
    start: ONNX Runtime would go on without it, and without a word.
    """
    threads = settings.worker_threads or os.cpu_count() or 1
    session = Session(model, graph, weights, providers, threads)
    if providers[0] not in session.providers():
        because = f"{providers[0]} does not start on this machine"
        raise Missing(because, "set DARKROOM_ONNX_PROVIDERS to others")
    return session


def providers_of(settings: EngineSettings) -> list[str]:
    """The execution providers that the settings name, the CPU's last."""
    wanted = [name.strip() for name in settings.onnx_providers.split(",")]
    named = [name for name in wanted if name]
    available = onnxruntime.get_available_providers()
    for name in named:
        if name not in available:
            raise SettingsError(
                f"DARKROOM_ONNX_PROVIDERS names {name}, which the installed onnxruntime does not have; "
                f"it has {', '.join(available)}"
            )
    return [*(name for name in named if name != ALWAYS), ALWAYS]
