"""The compact network by PyTorch and by ONNX Runtime's CUDA provider, in one run."""

from __future__ import annotations

import importlib.util
import io
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gpu_worker.engines import weights
from shared.models import Model
from shared.runtime.settings import Settings

NEEDS = ("onnx", "onnxruntime")
ROUNDS = 5

Floats = NDArray[np.float32]


def compared(
    model: Model, settings: Settings, size: tuple[int, int], device: torch.device
) -> dict[str, Any]:
    """Seconds of both, their ratio, and the largest difference of the outputs (0 to 1);
    what is missing instead, where something is.
    """
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        return {"missing": missing}
    import onnxruntime

    provider = f"{device.type.upper()}ExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        return {"missing": [provider]}
    state = weights.load(model, settings)
    network = weights.network(state, model.name).model.eval()
    generator = np.random.default_rng(0)
    batch = generator.random((1, 3, *size), dtype=np.float32)
    session = onnxruntime.InferenceSession(_exported(network, batch), None, [provider])
    name = session.get_inputs()[0].name
    on_device = network.to(device)

    def by_torch() -> Floats:
        with torch.inference_mode():
            output: Floats = on_device(torch.from_numpy(batch).to(device)).cpu().numpy()
        return output

    def by_onnx() -> Floats:
        output: Floats = session.run(None, {name: batch})[0]
        return output

    off = np.abs(by_torch() - by_onnx()).max()
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(_seconds(by_torch))
        theirs.append(_seconds(by_onnx))
    return {
        "torch_seconds": statistics.median(ours),
        "onnx_seconds": statistics.median(theirs),
        "ratio": statistics.median(ours) / statistics.median(theirs),
        "difference_max": float(off),
    }


def _exported(network: torch.nn.Module, batch: Floats) -> bytes:
    file = io.BytesIO()
    torch.onnx.export(network, (torch.from_numpy(batch),), file, dynamo=False)
    return file.getvalue()


def _seconds(call: Callable[[], Floats]) -> float:
    began_s = time.perf_counter()
    call()
    return time.perf_counter() - began_s
