"""The script for whoever has a GPU, run through on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.extras import needs

needs("torch", "torch")

ROOT = Path(__file__).parents[2]
SECTIONS = ["machine", "parity", "determinism", "speed", "small_device", "memory_back"]
"""All but the colours, whose network is large, and ONNX Runtime, which few have."""


def test_every_section_gives_figures(tmp_path: Path) -> None:
    """No time is judged."""
    environment = os.environ | {
        "DRY": "1",
        "OUT": str(tmp_path),
        "PYTHON": sys.executable,
        "SECTIONS": ",".join(SECTIONS),
    }
    done = subprocess.run(
        ["sh", "tests/bench/gpu.sh"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert list(found) == ["dry", *SECTIONS]
    (parity,) = [one for one in found["parity"].values() if isinstance(one, dict)]
    assert parity["to_official_max"] <= 1
    assert "images_per_s" in (tmp_path / "gpu.txt").read_text()
