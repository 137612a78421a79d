"""ONNX graphs of networks, without their weights, and the lists of the weights that
they take.

`tests/support/export_graphs.py` makes them from the architectures' own PyTorch code.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parent

State = dict[str, NDArray[Any]]


class Unfit(ValueError):
    """Weights fit no graph; the text is the middle of a sentence that says why."""


def graph(name: str) -> bytes:
    """The serialised graph `name`: (1, 3, h, w) -> (1, c, h, w)."""
    return gzip.decompress((FOLDER / f"{name}.onnx.gz").read_bytes())


@cache
def weight_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """The weights that the graph `name` takes, and their shapes."""
    listed = _listed(name)
    return {one: tuple(shape) for one, shape in listed.items() if shape is not None}


def unused(name: str) -> set[str]:
    """Tensors of the network's files that the graph does not need."""
    return {one for one, shape in _listed(name).items() if shape is None}


@cache
def _listed(name: str) -> dict[str, list[int] | None]:
    listed: dict[str, list[int] | None]
    listed = json.loads((FOLDER / f"{name}.json").read_text())
    return listed


def fitting(names: Sequence[str], state: State) -> tuple[str, State]:
    """The first of the graphs `names` that the weights fit, and these as float32.

    Raises `Unfit` naming the first fault of the graph that comes closest.
    """
    closest = max(names, key=lambda name: _in_common(name, state))
    fault = _fault(closest, state)
    if fault:
        raise Unfit(f"it is no {closest}: {fault}")
    weights = {
        tensor: np.ascontiguousarray(state[tensor], np.float32)
        for tensor in weight_shapes(closest)
    }
    return closest, weights


def _in_common(name: str, state: State) -> int:
    """How many tensors have the name and the shape that the graph wants."""
    wanted = weight_shapes(name).items()
    return sum(
        tensor in state and state[tensor].shape == shape for tensor, shape in wanted
    )


def _fault(name: str, state: State) -> str:
    wanted = weight_shapes(name)
    missing = sorted(wanted.keys() - state.keys())
    if missing:
        return f"tensor {missing[0]} is missing ({len(missing)} in all)"
    extra = sorted(state.keys() - wanted.keys() - unused(name))
    if extra:
        return (
            f"tensor {extra[0][:100]} belongs to another network ({len(extra)} in all)"
        )
    for tensor, shape in wanted.items():
        found = state[tensor]
        if found.shape != shape:
            return f"tensor {tensor} has the shape {found.shape}, not {shape}"
        if found.dtype.kind != "f":
            return f"tensor {tensor} holds {found.dtype} in place of floats"
    return ""
