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
MOST_CHARACTERS = 200
"""Of a library's explanation, in our error."""


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
        param = models.locate(model, "ncnn-param", settings)
        binary = models.locate(model, "ncnn-bin", settings)
        arrays = ncnn_weights.read(param, binary, model.architecture)
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
    detail = f"model {model.name} has no weights that torch can read"
    raise NotFound(Code.MODEL_MISSING, detail)


def load_mixed(
    model: Model, weak: Model, share: float, settings: ModelSettings
) -> State:
    """The weights of two networks of one shape: `share` of `model`, the rest of `weak`,
    as the official code's `-dn` has it. Raises as `load`.
    """
    ours, theirs = load(model, settings), load(weak, settings)
    shapes = [{name: value.shape for name, value in s.items()} for s in (ours, theirs)]
    if shapes[0] != shapes[1]:
        detail = f"models {model.name} and {weak.name} are of two shapes; take both from their official source"
        raise PermanentError(Code.MODEL_CORRUPT, detail)
    return {
        name: share * value + (1 - share) * theirs[name] for name, value in ours.items()
    }


def read(path: Path) -> State:
    """The state dictionary in a .pth, .pt, .ckpt or .safetensors file. Raises
    `PermanentError(model_corrupt)`.
    """
    try:
        content = _read(path)
    except pickle.UnpicklingError as error:
        fault = f"it holds something other than weights and was not executed ({_summary(error)})"
        raise _corrupt(path, fault) from error
    # A broken file raises whatever its first wrong byte leads to.
    except Exception as error:
        fault = f"it cannot be read as weights ({_summary(error)})"
        raise _corrupt(path, fault) from error
    state = compat.spandrel().canonicalize_state_dict(content)
    if not state or not _holds_tensors_only(state):
        raise _corrupt(path, "it holds no weights")
    return dict(state)


def _holds_tensors_only(state: dict[str, Any]) -> bool:
    return all(isinstance(value, torch.Tensor) for value in state.values())


def network(state: State, name: str) -> Any:
    """spandrel's description of the network called `name`, its weights loaded, on the
    CPU.

    Raises `PermanentError(model_corrupt)` when the weights fit no architecture.
    """
    try:
        return compat.build(state)
    # Guessing an architecture fails in as many ways as there are architectures.
    except Exception as error:
        fault = f"{type(error).__name__} {error}".strip()
        detail = (
            f"model {name}: its weights do not fit an architecture that spandrel knows "
            f"({fault[:MOST_CHARACTERS]})"
        )
        raise PermanentError(Code.MODEL_CORRUPT, detail) from error


def _read(path: Path) -> Any:
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if suffix not in PICKLES:
        extension = path.suffix or "no"
        raise ValueError(f"{extension} extension; use .safetensors, .pth, .pt or .ckpt")
    return torch.load(path, map_location="cpu", weights_only=True)


def _corrupt(path: Path, fault: str) -> PermanentError:
    detail = f"{path.name}: {fault}; take the file from its official source"
    return PermanentError(Code.MODEL_CORRUPT, detail)


def _summary(error: Exception) -> str:
    """The first line of the library's explanation, which goes on with advice to switch
    the protection off.
    """
    lines = f"{type(error).__name__}: {error}".splitlines()
    return lines[0][:MOST_CHARACTERS]
