"""`python -m tests.bench.onnx_against_torch [--large] [--side 512] [--rounds 3]`: DDColor
on ONNX Runtime and on PyTorch, on the CPU, in one run, with a stand-in for the weights.

Both are asked in turn. Printed are seconds, the ratio of each round, the largest
difference as a share of the output's range, and how much memory a round took. The
weights are made by another process, so that with `--alone` this one never holds
PyTorch.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from gpu_worker.engines.onnx_engine import OnnxEngine
from gpu_worker.pixels import memory
from shared.models import Model, ModelFile
from shared.runtime.settings import Settings


def stand_in(folder: Path, encoder: str) -> Model:
    """DDColor with tamed random weights, stored as the official files are."""
    import torch

    from tests.support import export_graphs

    network = export_graphs.tamed(export_graphs.ddcolor(encoder))
    path = folder / "ddcolor.pth"
    torch.save({"params": network.state_dict()}, path)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    file = ModelFile(role="weights", sha256=digest, path=path.name)
    return Model(
        name="stand-in", architecture="ddcolor", title="", licence="", files=[file]
    )


def measured(network: Any, grey: Any) -> tuple[Any, float, int]:
    """Result, seconds and peak memory of one run."""
    memory.reset_peak()
    began_s = time.perf_counter()
    result = network.run(grey)
    return result, time.perf_counter() - began_s, memory.peak_bytes()


def main() -> None:
    """Compare, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="the large variant")
    parser.add_argument("--side", type=int, default=512, help="of the input [px]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="without PyTorch")
    args = parser.parse_args()
    encoder = "convnext-l" if args.large else "convnext-t"
    random = np.random.default_rng(0)
    picture = random.random((args.side, args.side, 1), dtype=np.float32)
    grey = np.repeat(picture, 3, 2)
    said: dict[str, Any] = {"network": f"ddcolor {encoder}", "side_px": args.side}
    with tempfile.TemporaryDirectory() as folder:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            model = pool.apply(stand_in, (Path(folder), encoder))
        settings = Settings(models_dir=Path(folder))
        ours = OnnxEngine(settings).load_picture_network(model)
        if not args.alone:
            from gpu_worker.engines.torch_engine import TorchEngine

            theirs = TorchEngine(settings, "cpu").load_picture_network(model)
        onnx_s, torch_s, peaks = [], [], []
        for _ in range(args.rounds):
            found, seconds, peak = measured(ours, grey)
            onnx_s.append(seconds)
            peaks.append(peak)
            if args.alone:
                continue
            expected, seconds, _ = measured(theirs, grey)
            torch_s.append(seconds)
            off = np.abs(found - expected).max() / np.ptp(expected)
            said["difference_share"] = float(off)
    said["onnxruntime_s"] = statistics.median(onnx_s)
    said["peak_bytes"] = max(peaks)
    if torch_s:
        ratios = [one / other for one, other in zip(torch_s, onnx_s, strict=True)]
        said["torch_s"] = statistics.median(torch_s)
        said["ratio"] = statistics.median(ratios)
        said["ratio_spread"] = [min(ratios), max(ratios)]
    print(json.dumps(said))


if __name__ == "__main__":
    main()
