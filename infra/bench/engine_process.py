"""One engine in a process of its own, so that its peak memory is its own, answering one
request at a time.
"""

from __future__ import annotations

import io
import multiprocessing
import resource
import time
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

import numpy as np

from gpu_worker import codec, device, engines
from gpu_worker.restore import restore
from shared import workflows
from shared.models import Model
from shared.runtime import telemetry
from shared.runtime.settings import Settings

REFERENCE = "realesrgan"


@dataclass(frozen=True)
class Request:
    """Restore `data` with `workflow`; `tile_px` 0 lets the engine choose."""

    workflow: str
    data: bytes
    tile_px: int = 0


@dataclass(frozen=True)
class Answer:
    """`seconds` from bytes to bytes; `pixels` (h, w, 1 or 3) uint8; `fault` instead of
    a result.
    """

    seconds: float = 0.0
    pixels: np.ndarray | None = None
    peak_rss_bytes: int = 0
    device: str = ""
    fault: str = ""


class EngineProcess:
    """Context manager around the child."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        context = multiprocessing.get_context("spawn")
        self._pipe, child_end = context.Pipe()
        arguments = (engine, child_end)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.join()

    def restore(self, request: Request) -> Answer:
        """Have the child restore one photo; a child that died is a fault."""
        self._pipe.send(request)
        try:
            answer: Answer = self._pipe.recv()
        except EOFError:
            return Answer(fault="the engine's process died")
        return answer


def _serve(name: str, pipe: Connection) -> None:
    settings = Settings.load(engine=name)
    telemetry.configure(settings, "bench")  # stdout belongs to the figures
    while True:
        request: Request = pipe.recv()
        try:
            answer = _answer(name, request, settings)
        except Exception as error:  # the fault is the answer: another engine goes on
            answer = Answer(fault=f"{type(error).__name__}: {error}")
        pipe.send(answer)


def _answer(name: str, request: Request, settings: Settings) -> Answer:
    engine = _engine(name)
    began_s = time.perf_counter()
    if name == REFERENCE:
        pixels = _restore_officially(request, engine)
    else:
        tiled = settings.model_copy(update={"tile_px": request.tile_px})
        pixels = _restore(request, engine, tiled)
    seconds = time.perf_counter() - began_s
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Answer(seconds, pixels, usage.ru_maxrss * 1024, engine.device)


@cache
def _engine(name: str) -> engines.Engine:
    settings = Settings.load(engine=name)
    device.show(settings)
    return engines.select(settings)


def _restore(
    request: Request, engine: engines.Engine, settings: Settings
) -> np.ndarray:
    photo = codec.decode(request.data, codec.Limits.of(settings))
    workflow = workflows.resolve(request.workflow)
    restored = restore(photo, workflow, engine, settings, lambda _: None)
    text = codec.texts("bench", workflow)
    codec.write_png(restored.photo, io.BytesIO(), text, settings.png_level)
    return np.asarray(restored.photo.pixels)


def _restore_officially(request: Request, engine: engines.Engine) -> np.ndarray:
    """As the official script does it: read, enhance and write with OpenCV."""
    import cv2

    data = np.frombuffer(request.data, np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_ANYCOLOR)
    image = np.atleast_3d(np.asarray(decoded))
    rgb = np.ascontiguousarray(image[:, :, ::-1])
    model = _first_model(request.workflow)
    network = engine.load(model)
    (output,) = network.upscale([rgb], alone=True)
    cv2.imencode(".png", output[:, :, ::-1])
    return np.asarray(output)


def _first_model(workflow: str) -> Model:
    for step in workflows.resolve(workflow).steps:
        if step.model is not None:
            return step.model
    raise ValueError(f"workflow {workflow} has no step with a model")
