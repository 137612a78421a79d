"""Networks in ONNX Runtime: on tiles of a photo, and on whole pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime

from gpu_worker.engines import architectures
from gpu_worker.engines.architectures import Architecture
from gpu_worker.engines.base import CPU, Floats, OutOfMemory
from gpu_worker.engines.quantise import to_pixels
from gpu_worker.photo import Pixels, depth_of, top_level
from gpu_worker.pixels import memory
from shared.errors import Code, PermanentError
from shared.models import Model

ENGINE = "onnxruntime"
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


class OnnxNetwork:
    """A network that takes tiles."""

    kernels = ENGINE

    def __init__(self, session: Session, known: Architecture) -> None:
        self.model = session.model
        self.bytes_per_px = architectures.bytes_per_px(session.model, ENGINE)
        self._session = session
        self._known = known

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:  # noqa: ARG002 - one call at a time
        return [self._upscale(window) for window in windows]

    def _upscale(self, window: Pixels) -> Pixels:
        height, width, channels = window.shape
        dtype = depth_of(window)
        padded = _padded(window, self._known.multiple)
        levels = padded.astype(np.float32) / top_level(dtype)
        planes = self._session.run(picture=_to_planes(levels))[0]
        scale = self.model.scale
        inside = planes[:, : height * scale, : width * scale]
        return to_pixels(inside, channels, dtype)


class OnnxPictureNetwork:
    """A network that takes a whole picture."""

    def __init__(self, session: Session, known: Architecture) -> None:
        self.model = session.model
        self._session = session
        self._known = known

    def run(self, picture: Floats) -> Floats:
        """As `engines.PictureNetwork.run`."""
        height, width, _ = picture.shape
        self._session.check_memory(width, height)
        black, white = self._known.input_range
        values = picture * np.float32(white - black) + np.float32(black)
        planes = {self._session.first_input: _to_planes(values)}
        output = self._session.run(**planes)[0]
        if self._known.gives == "picture":
            output = np.clip((output - black) / (white - black), 0, 1)
        return np.ascontiguousarray(output.transpose(1, 2, 0), np.float32)


def _to_planes(picture: Floats) -> Floats:
    """(h, w, 1 or 3) -> (1, 3, h, w), grey as three equal channels."""
    height, width, _ = picture.shape
    planes = np.broadcast_to(picture.transpose(2, 0, 1), (3, height, width))
    return np.ascontiguousarray(planes[np.newaxis])


def _padded(window: Pixels, multiple: int) -> Pixels:
    """The window mirrored beyond its right and lower border up to whole multiples, as
    far as there is something to mirror; then the border repeated.
    """
    height, width, _ = window.shape
    below = -height % multiple
    right = -width % multiple
    mirrored_below = min(below, height - 1)
    mirrored_right = min(right, width - 1)
    mirror = ((0, mirrored_below), (0, mirrored_right), (0, 0))
    rest = ((0, below - mirrored_below), (0, right - mirrored_right), (0, 0))
    return np.pad(np.pad(window, mirror, "reflect"), rest, "edge")
