"""What is broken between our dependencies, mended in one place. Import `spandrel` and
`realesrgan` through here.

Each mending says what breaks, since when, and how one sees that it is no longer needed.
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
        module.MAIN_REGISTRY.add(
            module.ArchSupport.from_architecture(DDColorArch()), ignore_duplicates=True
        )
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

    def call(network: Any, batch: Any) -> Any:
        height, width = batch.shape[2:]
        padded = _padded(batch, *sizes.get_padding(width, height))
        output = descriptor._call_fn(network, padded)
        return output[:, :, : height * descriptor.scale, : width * descriptor.scale]

    return call


def size_requirements(descriptor: Any) -> Any:
    """Which sides the network takes, as spandrel says it; for ESRGAN as the network and
    its official code have it.

    spandrel asks for multiples of four where x2plus folds two pixels, and every padded
    pixel bends the border.
    """
    if descriptor.architecture.id != "ESRGAN":
        return descriptor.size_requirements
    return spandrel().SizeRequirements(multiple_of=descriptor.model.shuffle_factor or 1)


def _padded(batch: Any, right: int, below: int) -> Any:
    """Mirrored, as far as there is something to mirror; then the border repeated."""
    from torch.nn.functional import pad

    if not right and not below:
        return batch
    height, width = batch.shape[2:]
    mirrored = pad(
        batch, (0, min(right, width - 1), 0, min(below, height - 1)), "reflect"
    )
    return pad(
        mirrored,
        (0, max(0, right - width + 1), 0, max(0, below - height + 1)),
        "replicate",
    )


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
    """torchvision 0.28 on PyPI is built for CUDA. Beside a CPU torch its compiled part
    does not load, and its import ends in `operator torchvision::nms does not exist`: it
    describes two operators that nobody registered. We declare them, without a body:
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
    """basicsr 1.4.2 (2022, its last release) imports `rgb_to_grayscale` from a module
    that torchvision removed in 0.17. Needed as long as the reference is installed.
    """
    name = "torchvision.transforms.functional_tensor"
    if name not in sys.modules:
        from torchvision.transforms.functional import rgb_to_grayscale

        alias = ModuleType(name)
        vars(alias)["rgb_to_grayscale"] = rgb_to_grayscale
        sys.modules[name] = alias


def _quiet() -> warnings.catch_warnings[Any]:
    """These packages run deprecated calls of torch and SciPy. The warnings are for
    their authors, not our users.
    """
    return warnings.catch_warnings(action="ignore")


def _not_installed(extra: str, error: ImportError) -> NotFound:
    return NotFound(
        Code.MODEL_MISSING,
        f"{error.name or error} is not installed; {how_to_add(extra)}",
    )
