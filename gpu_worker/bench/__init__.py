"""Engines measured: `darkroom bench engine` beside the official code, `bench bare` one
alone, as a reference; `bench stand-in` is the worker of `darkroom bench lanes`.
"""

from __future__ import annotations


def main(argv: list[str]) -> int:
    """`bare …`, `stand-in …` or the arguments of the engine bench; the exit status."""
    if argv[:1] == ["bare"]:
        from gpu_worker.bench import bare

        return bare.main(argv[1:])
    if argv[:1] == ["stand-in"]:
        from gpu_worker.bench import stand_in

        return stand_in.main(argv[1:])
    from gpu_worker.bench import cli

    return cli.main(argv)
