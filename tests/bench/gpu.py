"""`tests/bench/gpu.sh`: what the torch engine does on a GPU, beside the official code.

Every section writes its figures as soon as it has them; a fault in one is its figure,
and the others go on. Pictures are generated; where the networks' weights are not
installed, random ones stand in, which the figures say: speed is the same.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpu_worker import engines, tile_runner
from gpu_worker.engines import device_memory
from gpu_worker.engines.torch_engine import TorchEngine
from gpu_worker.photo import Pixels
from shared.models import Model
from shared.runtime import telemetry
from shared.runtime.settings import Settings
from tests.bench import gpu_onnx, gpu_stand_ins
from tests.bench.gpu_busy import Busy, kernel_seconds
from tests.support.pictures import difference, photo_like

FAST, ENHANCE = "realesr-animevideov3", "realesrgan-x4plus"
SMALL_DEVICE_BYTES = 8_000_000_000
GB = 1e9

Figures = dict[str, Any]
Section = Callable[["Bench"], Figures]


@dataclass(frozen=True)
class Sizes:
    """How much is measured. Sides in pixels, (height, width)."""

    small: tuple[int, int]
    large: tuple[int, int]
    capped: tuple[int, int]
    colour: tuple[int, ...]
    networks: tuple[str, ...]
    small_images: int
    rounds: int


FULL = Sizes(
    small=(512, 512),
    large=(3000, 4000),
    capped=(1500, 2000),
    colour=(512, 960),
    networks=(FAST, ENHANCE),
    small_images=8,
    rounds=3,
)
DRY = Sizes(
    small=(24, 24),
    large=(40, 56),
    capped=(40, 56),
    colour=(64,),
    networks=(FAST,),
    small_images=1,
    rounds=1,
)
OFFICIAL_TILE_PX = 512
"""The official code fails on a large picture that is not cut, and on a card with much
memory as well: a tensor may not have 2**31 values.
"""
WARM_UPS = 3
"""A shape's graph is captured at its third use."""


class Bench:
    """The engines, and what all sections share. `dry`: on the CPU, tiny."""

    def __init__(self, dry: bool, folder: Path, deadline_s: float) -> None:
        where = "cpu" if dry else "cuda"
        self.sizes = DRY if dry else FULL
        self.device = torch.device(where)
        self.folder = folder
        self.deadline_s = deadline_s
        self._models: dict[str, Model] = {}
        self.settings = Settings.given(
            engine="torch",
            device=where,
            models_dir=folder,
            scratch_threshold_bytes=20_000_000_000,
        )
        self.engine = TorchEngine(self.settings)
        self.official = gpu_stand_ins.official(self.settings, self.device)

    def model(self, name: str) -> Model:
        """The network of this name, or one of its kind with random weights."""
        if name not in self._models:
            installed = gpu_stand_ins.installed(name, self.settings)
            self._models[name] = installed or gpu_stand_ins.random(name, self.folder)
        return self._models[name]

    def upscaled(
        self, engine: engines.Engine, name: str, pixels: Pixels
    ) -> tuple[Pixels, Figures]:
        """As a worker does it, and how the picture was tiled."""
        network = engine.load(self.model(name))
        settings = self.settings
        if engine is self.official and pixels.size > OFFICIAL_TILE_PX**2 * 3:
            settings = settings.model_copy(update={"tile_px": OFFICIAL_TILE_PX})
        return tile_runner.upscale(pixels, network, engine, settings, _ignore)

    def seconds(self, engine: engines.Engine, name: str, photos: list[Pixels]) -> float:
        began_s = time.perf_counter()
        for pixels in photos:
            self.upscaled(engine, name, pixels)
        return time.perf_counter() - began_s

    def is_late(self) -> bool:
        return time.perf_counter() > self.deadline_s


def machine(bench: Bench) -> Figures:
    """What was measured on."""
    is_cuda = bench.device.type == "cuda"
    return {
        "device": bench.engine.device,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if is_cuda else None,
        "official": bench.official.name,
        "weights": {
            name: "random" if bench.model(name).name != name else "installed"
            for name in bench.sizes.networks
        },
    }


def speed(bench: Bench) -> Figures:
    """Images a second beside the official code, in turns; how busy the device was."""
    found = {}
    for name in bench.sizes.networks:
        for label, size, images in (
            ("512 px", bench.sizes.small, bench.sizes.small_images),
            ("12 megapixels", bench.sizes.large, 1),
        ):
            photos = [photo_like(*size, seed=seed) for seed in range(images)]
            found[f"{name}, {label}"] = _compared(bench, name, photos)
    return found


def _compared(bench: Bench, name: str, photos: list[Pixels]) -> Figures:
    ours: list[float] = []
    theirs: list[float] = []
    busy = Busy()
    bench.engine.reset_peak()
    bench.seconds(bench.engine, name, photos[:1] * min(WARM_UPS, len(photos)))
    with gpu_stand_ins.official_flags():
        bench.seconds(bench.official, name, photos[:1])
    for _ in range(bench.sizes.rounds):
        with busy:
            ours.append(bench.seconds(bench.engine, name, photos))
        with gpu_stand_ins.official_flags():
            theirs.append(bench.seconds(bench.official, name, photos))
        if bench.is_late():
            break
    ratios = [other / own for other, own in zip(theirs, ours, strict=True)]
    kernels_s = kernel_seconds(
        bench.device, lambda: bench.seconds(bench.engine, name, photos)
    )
    one_s = statistics.median(ours)
    return {
        "images_per_s": len(photos) / one_s,
        "official_images_per_s": len(photos) / statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "device_busy_by_nvml": busy.mean(),
        "device_busy_by_kernels": None if kernels_s is None else kernels_s / one_s,
        "peak_device_gb": _in_gb(bench.engine.peak_bytes()),
    }


def parity(bench: Bench) -> Figures:
    """fp16 against fp32, which 16-bit photos take, and against the official code; in
    8-bit levels.
    """
    found = {}
    for name in bench.sizes.networks:
        pixels = photo_like(*bench.sizes.small)
        half, _ = bench.upscaled(bench.engine, name, pixels)
        deep, _ = bench.upscaled(
            bench.engine, name, pixels.astype(np.uint16) * np.uint16(257)
        )
        official, _ = bench.upscaled(bench.official, name, pixels)
        whole = np.abs(half.astype(np.float64) - deep.astype(np.float64) / 257)
        found[name] = {
            "to_fp32_max": float(whole.max()),
            "to_fp32_mean": float(whole.mean()),
            "to_official_max": float(difference(half, official).max()),
            "to_official_mean": float(difference(half, official).mean()),
        }
    return found


def small_device(bench: Bench) -> Figures:
    """A cap of 8 GB: once the engine knows of it, once only the allocator does, and the
    ladder of smaller tiles must help.
    """
    found = {}
    engines.unload()
    for name in bench.sizes.networks:
        pixels = photo_like(*bench.sizes.capped)
        free, _ = bench.upscaled(bench.engine, name, pixels)
        engines.unload()
        for label, knows in (("told", True), ("not told", False)):
            with gpu_stand_ins.capped(bench.device, SMALL_DEVICE_BYTES, knows):
                engine = TorchEngine(bench.settings)
                engine.reset_peak()
                began_s = time.perf_counter()
                capped, tile = bench.upscaled(engine, name, pixels)
                seconds = time.perf_counter() - began_s
                peak = engine.peak_bytes()
            off = difference(capped, free)
            found[f"{name}, {label}"] = {
                "seconds": seconds,
                "window_px": tile["window_px"],
                "tiles": tile["count"],
                "ladder": len(tile.get("ladder", [])),
                "peak_device_gb": _in_gb(peak),
                "to_uncapped_max": float(off.max()),
                "to_uncapped_mean": float(off.mean()),
            }
    return found


def colour(bench: Bench) -> Figures:
    """DDColor's large variant, with tamed random weights, in fp32."""
    model = gpu_stand_ins.colorizer(bench.folder, bench.device)
    network = bench.engine.load_colorizer(model)
    found = {}
    for side in bench.sizes.colour:
        grey = np.repeat(photo_like(side, side, 1), 3, 2).astype(np.float32) / 255
        bench.engine.reset_peak()
        network.ab(grey)
        times = []
        for _ in range(bench.sizes.rounds):
            began_s = time.perf_counter()
            network.ab(grey)
            times.append(time.perf_counter() - began_s)
        found[f"{side} px"] = {
            "seconds": statistics.median(times),
            "peak_device_gb": _in_gb(bench.engine.peak_bytes()),
        }
    return found


def memory_back(bench: Bench) -> Figures:
    """What PyTorch holds on the device with networks loaded, and after an idle worker
    has let them go.
    """
    for name in bench.sizes.networks:
        bench.upscaled(bench.engine, name, photo_like(*bench.sizes.small))
    held = _held_bytes(bench.device)
    names = engines.unload()
    return {
        "unloaded": names,
        "held_gb": _in_gb(held),
        "held_after_gb": _in_gb(_held_bytes(bench.device)),
    }


def _held_bytes(device: torch.device) -> int | None:
    if device.type == "cpu":
        return None
    return int(torch.cuda.memory_reserved(device))


def determinism(bench: Bench) -> Figures:
    """The same photo twice by one engine, and once by a fresh one: pixels that differ."""
    found = {}
    for name in bench.sizes.networks:
        pixels = photo_like(*bench.sizes.small)
        first, _ = bench.upscaled(bench.engine, name, pixels)
        again, _ = bench.upscaled(bench.engine, name, pixels)
        fresh, _ = bench.upscaled(TorchEngine(bench.settings), name, pixels)
        found[name] = {
            "again": int((first != again).sum()),
            "fresh_engine": int((first != fresh).sum()),
            "fresh_engine_max": float(difference(first, fresh).max()),
        }
    return found


def onnx(bench: Bench) -> Figures:
    """Torch against ONNX Runtime's CUDA provider on the compact network, in fp32 and in
    turns.
    """
    return gpu_onnx.compared(
        bench.model(FAST), bench.settings, bench.sizes.small, bench.device
    )


SECTIONS: dict[str, Section] = {
    "machine": machine,
    "parity": parity,
    "determinism": determinism,
    "speed": speed,
    "small_device": small_device,
    "colour": colour,
    "memory_back": memory_back,
    "onnx": onnx,
}


def measured(section: Section, bench: Bench) -> Figures:
    """The figures of a section, or its fault."""
    began_s = time.perf_counter()
    if bench.is_late():
        return {"fault": "no time was left"}
    try:
        figures = section(bench)
    except Exception as error:
        figures = {"fault": f"{type(error).__name__}: {error}"}
    device_memory.give_back(bench.device)
    return figures | {"section_seconds": round(time.perf_counter() - began_s, 1)}


def table(figures: Figures) -> str:
    """All figures as indented lines."""
    lines: list[str] = []
    _add_lines(lines, figures, 0)
    return "\n".join(lines) + "\n"


def _add_lines(lines: list[str], figures: Figures, depth: int) -> None:
    for name, value in figures.items():
        indented = "  " * depth + name
        if isinstance(value, dict):
            lines.append(indented)
            _add_lines(lines, value, depth + 1)
        else:
            text = f"{value:.4g}" if isinstance(value, float) else value
            lines.append(f"{indented:40} {text}")


def _in_gb(size: int | None) -> float | None:
    return None if size is None else size / GB


def _ignore(_done: float) -> None:
    pass


def main() -> int:
    """Exit status 1 where a section failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--sections", default=",".join(SECTIONS))
    options = parser.parse_args()
    telemetry.configure(Settings.given(log_level="warning"), "bench")
    if not options.dry and not torch.cuda.is_available():
        print("PyTorch sees no CUDA device here; DRY=1 runs on the CPU")
        return 1
    # The last section and its last round end after it.
    deadline_s = time.perf_counter() + options.seconds * 0.7
    names = options.sections.split(",")
    found: Figures = {"dry": options.dry}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.dry, Path(folder), deadline_s)
        for name in names:
            found[name] = measured(SECTIONS[name], bench)
            (options.out / "gpu.json").write_text(json.dumps(found, indent=2))
            (options.out / "gpu.txt").write_text(table(found))
            print(table({name: found[name]}), flush=True)
    faults = [name for name in names if "fault" in found[name]]
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
