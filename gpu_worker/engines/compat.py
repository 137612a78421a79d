"""What is broken between our dependencies, mended in one place. Import `spandrel` and
`realesrgan` through here.

Each repair says what breaks, since when, and how one sees that it is no longer needed.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

from shared.errors import Code, NotFound
from shared.runtime.installation import how_to_add

MISSING_OPERATORS = ("nms", "qnms")
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@cache
def spandrel() -> Any:
    """The `spandrel` module with DDColor registered beside its own architectures.

    Of the extra architectures DDColor alone is taken: the licences of others among them
    forbid commercial use.

    Raises `NotFound(model_missing)` naming the extra to install.
    """
    _import_torchvision()
    with _quiet():
        try:
            import spandrel as module
            from spandrel_extra_arches.architectures.DDColor import DDColorArch
        except ImportError as error:
            raise _not_installed("torch", error) from error
        ddcolor = module.ArchSupport.from_architecture(DDColorArch())
        module.MAIN_REGISTRY.add(ddcolor, ignore_duplicates=True)
    return module


def build(state: dict[str, Any]) -> Any:
    """spandrel's description of the network that `state` fits, its weights loaded, on
    the CPU.

    Raises what spandrel raises where it knows none.
    """
    with _quiet():
        descriptor = spandrel().ModelLoader().load_from_state_dict(state)
    return descriptor.eval()


def unclamped(descriptor: Any) -> Callable[[Any, Any], Any]:
    """(network, batch) -> output, as `descriptor(batch)` does it, in batches and
    without its clamp.

    spandrel's own call clamps to 0..1, which makes a fine white of infinity, where we
    must see a fault.
    """
    sizes = size_requirements(descriptor)
    scale = descriptor.scale

    def call(network: Any, batch: Any) -> Any:
        height, width = batch.shape[2:]
        right, below = sizes.get_padding(width, height)
        padded = _padded(batch, right, below)
        output = descriptor._call_fn(network, padded)
        return output[:, :, : height * scale, : width * scale]

    return call


def size_requirements(descriptor: Any) -> Any:
    """Which sides the network takes, as spandrel says it; for ESRGAN as the network and
    its official code have it.

    spandrel wants multiples of four where x2plus folds two pixels, and every padded
    pixel bends the border.
    """
    if descriptor.architecture.id != "ESRGAN":
        return descriptor.size_requirements
    multiple = descriptor.model.shuffle_factor or 1
    return spandrel().SizeRequirements(multiple_of=multiple)


def _padded(batch: Any, right: int, below: int) -> Any:
    """The batch mirrored beyond its border, as far as there is something to mirror;
    then the border repeated.
    """
    from torch.nn.functional import pad

    if not right and not below:
        return batch
    height, width = batch.shape[2:]
    mirrored_right = min(right, width - 1)
    mirrored_below = min(below, height - 1)
    mirrored = pad(batch, (0, mirrored_right, 0, mirrored_below), "reflect")
    rest_right = right - mirrored_right
    rest_below = below - mirrored_below
    return pad(mirrored, (0, rest_right, 0, rest_below), "replicate")


@cache
def realesrgan() -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """`RealESRGANer`, `RRDBNet` and `SRVGGNetCompact` of the official packages, unable
    to print.

    Raises `NotFound(model_missing)` naming the extra to install.
    """
    _import_torchvision()
    _alias_functional_tensor()
    with _quiet():
        try:
            import realesrgan.utils as utils
            from basicsr.archs.rrdbnet_arch import RRDBNet
            from realesrgan.archs.srvgg_arch import SRVGGNetCompact
        except ImportError as error:
            raise _not_installed("reference", error) from error
    # It prints about 16-bit input, and stdout belongs to `--json`. A global of the
    # module hides the builtin from it alone; redirecting stdout would reach into every
    # other thread.
    vars(utils)["print"] = lambda *_: None
    return utils.RealESRGANer, RRDBNet, SRVGGNetCompact


def _import_torchvision() -> None:
    """Import torchvision, also beside a CPU torch.

    torchvision 0.28 on PyPI is built for CUDA. Beside a CPU torch its compiled part
    does not load, and its import ends in `operator torchvision::nms does not exist`: it
    describes two operators that were never registered. We declare them, without a body:
    nothing here calls them. Needed until the plain import succeeds beside a CPU torch.
    """
    try:
        import torch
    except ImportError as error:
        raise _not_installed("torch", error) from error
    try:
        import torchvision
    except ImportError as error:
        raise _not_installed("torch", error) from error
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in MISSING_OPERATORS:
            torch.library.define(f"torchvision::{name}", SIGNATURE)
        import torchvision  # noqa: F401


def _alias_functional_tensor() -> None:
    """Give basicsr the module that it imports `rgb_to_grayscale` from.

    basicsr 1.4.2 (2022, its last release) imports it from a module that torchvision
    removed in 0.17. Needed as long as the reference is installed.
    """
    name = "torchvision.transforms.functional_tensor"
    if name in sys.modules:
        return
    from torchvision.transforms.functional import rgb_to_grayscale

    alias = ModuleType(name)
    vars(alias)["rgb_to_grayscale"] = rgb_to_grayscale
    sys.modules[name] = alias


def _quiet() -> warnings.catch_warnings[Any]:
    """A context without warnings: these packages run deprecated calls of torch and
    SciPy, which concern their authors, not our users.
    """
    return warnings.catch_warnings(action="ignore")


def _not_installed(extra: str, error: ImportError) -> NotFound:
    package = error.name or error
    detail = f"{package} is not installed; {how_to_add(extra)}"
    return NotFound(Code.MODEL_MISSING, detail)
