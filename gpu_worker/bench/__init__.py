"""`darkroom bench engine`: our engines and the official code side by side, in one run, on the same photos."""

from gpu_worker.bench.cli import main

__all__ = ["main"]
