"""One engine in a process of its own, so that its peak memory is its own, answering one
request at a time.
"""

from __future__ import annotations

import io
import multiprocessing
import resource
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

import numpy as np

from gpu_worker import codec, engines
from gpu_worker.photo import Photo
from gpu_worker.restore import restore
from shared import workflows
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
        self._process = context.Process(
            target=_serve, args=(engine, child_end), daemon=True
        )

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

    def ask(self, request: Request) -> Answer:
        self._pipe.send(request)
        try:
            answer: Answer = self._pipe.recv()
        except EOFError:
            return Answer(fault="the engine's process died")
        return answer


def _serve(name: str, pipe: Connection) -> None:
    settings = Settings.load(engine=name)
    while True:
        request: Request = pipe.recv()
        try:
            pipe.send(_answer(name, request, settings))
        except Exception as error:  # the fault is the answer: another engine goes on
            pipe.send(Answer(fault=f"{type(error).__name__}: {error}"))


def _answer(name: str, request: Request, settings: Settings) -> Answer:
    settings = settings.model_copy(update={"tile_px": request.tile_px})
    engine = _engine(settings)
    began_s = time.perf_counter()
    run = _official if name == REFERENCE else _ours
    pixels = run(request, engine, settings)
    seconds = time.perf_counter() - began_s
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Answer(seconds, pixels, peak, engine.device)


_engines: dict[str, engines.Engine] = {}


def _engine(settings: Settings) -> engines.Engine:
    if settings.engine not in _engines:
        _engines[settings.engine] = engines.select(settings)
    return _engines[settings.engine]


def _ours(request: Request, engine: engines.Engine, settings: Settings) -> np.ndarray:
    photo = codec.decode(request.data, codec.Limits.of(settings))
    workflow = workflows.resolve(request.workflow)
    restored: Photo = restore(photo, workflow, engine, settings, lambda _: None).photo
    codec.write_png(
        restored, io.BytesIO(), codec.texts("bench", workflow), settings.png_level
    )
    return np.asarray(restored.pixels)


def _official(
    request: Request,
    engine: engines.Engine,
    settings: Settings,  # noqa: ARG001
) -> np.ndarray:
    """As the official script does it: read, enhance and write with OpenCV."""
    import cv2

    image = np.atleast_3d(
        np.asarray(
            cv2.imdecode(np.frombuffer(request.data, np.uint8), cv2.IMREAD_ANYCOLOR)
        )
    )
    (step, *_) = [
        step for step in workflows.resolve(request.workflow).steps if step.model
    ]
    assert step.model is not None
    rgb = np.ascontiguousarray(image[:, :, ::-1])
    (output,) = engine.load(step.model).upscale([rgb], alone=True)
    cv2.imencode(".png", output[:, :, ::-1])
    return np.asarray(output)
