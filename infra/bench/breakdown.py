"""`bench breakdown`: where the time of the engine goes that runs on our own
convolutions.
"""

from __future__ import annotations

import io
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu_worker import codec
from gpu_worker.engines.kernel_network import KernelNetwork
from gpu_worker.restore import restore
from shared import workflows
from shared.runtime.settings import Settings
from shared.workflows import ResolvedWorkflow

if TYPE_CHECKING:
    from gpu_worker.engines.ncnn_engine import NcnnEngine

CONVOLUTIONS = ("read", "multiply", "write", "wait")
STAGES = ("decode", *CONVOLUTIONS, "rest", "encode")
"""`read` and `write`: Winograd's transforms and what they load and store; `wait`: for
the other threads, at the end of a convolution. `rest`: what remains of the restoring,
Python and numpy.
"""


def run(settings: Settings, folder: str, names: str, rounds: int, as_json: bool) -> int:
    """Print the median milliseconds that all photos of `folder` together take in each
    stage, for each workflow. What threads do at the same time counts once.

    The exit status is 1 where a workflow does not run on our own convolutions.
    """
    photos = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    # The command is listed, too, where the worker's libraries are not installed.
    from gpu_worker.engines.ncnn_engine import NcnnEngine

    engine = NcnnEngine(settings)
    for name in names.split(","):
        workflow = workflows.resolve(name)
        network = _network(workflow, engine)
        if network is None:
            print(f"{name} does not run on our own convolutions here", file=sys.stderr)
            return 1
        counted = [
            _one_round(workflow, network, engine, photos, settings)
            for _ in range(rounds + 1)
        ][1:]
        medians = {
            stage: 1000 * statistics.median(seconds[stage] for seconds in counted)
            for stage in STAGES
        }
        _print(name, network.kernels, medians, as_json)
    return 0


def _network(workflow: ResolvedWorkflow, engine: NcnnEngine) -> KernelNetwork | None:
    for step in workflow.steps:
        if step.model is not None:
            network = engine.load(step.model)
            return network if isinstance(network, KernelNetwork) else None
    return None


def _one_round(
    workflow: ResolvedWorkflow,
    network: KernelNetwork,
    engine: NcnnEngine,
    photos: list[bytes],
    settings: Settings,
) -> dict[str, float]:
    """Seconds of each stage."""
    seconds = dict.fromkeys(STAGES, 0.0)
    before = _convolutions(network)
    for data in photos:
        with _timed(seconds, "decode"):
            photo = codec.decode(data, codec.Limits.of(settings))
        with _timed(seconds, "rest"):
            restored = restore(photo, workflow, engine, settings, lambda _: None)
        text = codec.texts("bench", workflow)
        with _timed(seconds, "encode"):
            codec.write_png(restored.photo, io.BytesIO(), text, settings.png_level)
    after = _convolutions(network)
    for stage in CONVOLUTIONS:
        seconds[stage] = after[stage] - before[stage]
        seconds["rest"] -= seconds[stage]
    return seconds


def _convolutions(network: KernelNetwork) -> dict[str, float]:
    """Seconds so far, a thread."""
    return {
        stage: getattr(network.spent, stage) / network.threads for stage in CONVOLUTIONS
    }


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    began_s = time.perf_counter()
    yield
    seconds[stage] += time.perf_counter() - began_s


def _print(
    name: str, kernels: str, milliseconds: dict[str, float], as_json: bool
) -> None:
    if as_json:
        line: dict[str, Any] = {"workflow": name, "kernels": kernels}
        print(json.dumps(line | {"ms": milliseconds}))
        return
    total = sum(milliseconds.values())
    print(f"{name}, {kernels}: {total:.0f} ms")
    for stage, ms in milliseconds.items():
        print(f"  {stage:<9}{ms:9.1f} ms {ms / total:7.1%}")
