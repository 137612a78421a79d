"""Verified weights as a PyTorch state dictionary, from whatever format a model's file
has. Nothing in it is executed.

A `.pth` file is a pickle, and unpickling may run code. `torch.load(weights_only=True)`
knows only tensors and plain containers and refuses everything else before it is called.
TorchScript archives are programs; they are refused too.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from gpu_worker import models
from gpu_worker.engines import compat, ncnn_weights
from shared.errors import Code, NotFound, PermanentError
from shared.models import Model
from shared.runtime.settings import ModelSettings

State = dict[str, torch.Tensor]

PICKLES = (".pth", ".pt", ".ckpt")


def load(model: Model, settings: ModelSettings) -> State:
    """The weights of `model` on the CPU, with the names that the official code gives
    them.

    Raises `NotFound(model_missing)`, `PermanentError(model_corrupt)`: wrong checksum,
    executable content, not weights.
    """
    models.verify(model, settings)
    if model.file("weights") is not None:
        return read(models.locate(model, "weights", settings))
    if model.file("ncnn-bin") is not None:
        places = [
            models.locate(model, role, settings) for role in ("ncnn-param", "ncnn-bin")
        ]
        arrays = ncnn_weights.read(places[0], places[1], model.architecture)
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
    raise NotFound(
        Code.MODEL_MISSING, f"model {model.name} has no weights that torch can read"
    )


def read(path: Path) -> State:
    """The state dictionary in a .pth, .pt, .ckpt or .safetensors file. Raises
    `PermanentError(model_corrupt)`.
    """
    try:
        state = _read(path)
    except pickle.UnpicklingError as error:
        raise _corrupt(
            path,
            f"it holds something other than weights and was not executed ({_first(error)})",
        ) from error
    # a broken file raises whatever its first wrong byte leads to
    except Exception as error:
        raise _corrupt(
            path, f"it cannot be read as weights ({_first(error)})"
        ) from error
    found = compat.spandrel().canonicalize_state_dict(state)
    if not found or not all(
        isinstance(value, torch.Tensor) for value in found.values()
    ):
        raise _corrupt(path, "it holds no weights")
    return dict(found)


def network(state: State, name: str) -> Any:
    """spandrel's description of the network called `name`, its weights loaded, on the
    CPU.

    Raises `PermanentError(model_corrupt)` when the weights fit no architecture.
    """
    try:
        return compat.build(state)
    # guessing an architecture fails in as many ways as there are architectures
    except Exception as error:
        found = f"{type(error).__name__} {error}".strip()[:200]
        detail = f"model {name}: its weights do not fit an architecture that spandrel knows ({found})"
        raise PermanentError(Code.MODEL_CORRUPT, detail) from error


def _read(path: Path) -> Any:
    if path.suffix.lower() == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if path.suffix.lower() not in PICKLES:
        raise ValueError(
            f"{path.suffix or 'no'} extension; use .safetensors, .pth, .pt or .ckpt"
        )
    return torch.load(path, map_location="cpu", weights_only=True)


def _corrupt(path: Path, fault: str) -> PermanentError:
    return PermanentError(
        Code.MODEL_CORRUPT,
        f"{path.name}: {fault}; take the file from its official source",
    )


def _first(error: Exception) -> str:
    """The first line of the library's explanation, which goes on with advice to switch
    the protection off.
    """
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
