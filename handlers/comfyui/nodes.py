"""The nodes that prompts may be made of, and the names under which models are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from shared import models, workflows
from shared.models import Model
from shared.workflows import Parameter

Kind = Literal["load", "colorize", "upscale", "upscale model", "save"]

UPSCALERS = {
    "RealESRGAN_x4plus": "realesrgan-x4plus",
    "RealESRGAN_x4plus_anime_6B": "realesrgan-x4plus-anime",
    "RealESRGAN_x2plus": "realesrgan-x2plus",
    "realesr-general-x4v3": "realesr-general-x4v3",
    "realesr-animevideov3": "realesr-animevideov3",
}
"""Official file without its ending → our model."""
COLOURERS = {
    "ddcolor_modelscope": "ddcolor-modelscope",
    "ddcolor_artistic": "ddcolor-artistic",
    "ddcolor_paper_tiny": "ddcolor-paper-tiny",
}
ENDING = ".pth"
ENDINGS = (ENDING, ".safetensors", ".pt", ".bin")
NO_ENLARGEMENT = ("ddcolor", "scunet", "restoreformer", "gfpgan", "lama")
"""Architectures of networks that no `UpscaleModelLoader` loads."""
LARGE_PX = 960
"""A size of DDColor from which on it is one for buildings and landscapes."""


@dataclass(frozen=True)
class Node:
    """A class of nodes. `links`: its inputs that come from other nodes, and the type of
    each. `outputs`: the types of what it gives. `aliases`: its sizes by other names.
    """

    kind: Kind
    title: str
    links: Mapping[str, str]
    outputs: tuple[str, ...]
    widgets: Mapping[str, list[Any]] = field(default_factory=dict)
    is_output: bool = False


def _sizes() -> list[Any]:
    least, most = size_range()
    return ["INT", {"default": 512, "min": least, "max": most, "step": 1}]


def size_range() -> tuple[int, int]:
    """The sizes that `portrait` and `building` take together [px]."""
    portrait = _parameter("portrait", "model_size")
    building = _parameter("building", "model_size")
    assert portrait.minimum is not None
    assert building.maximum is not None
    return int(portrait.minimum), int(building.maximum)


def _parameter(workflow: str, name: str) -> Parameter:
    return workflows.presets()[workflow].parameters()[name]


def colour_choices() -> list[str]:
    """The official files of DDColor that there are models for."""
    return [f"{name}{ENDING}" for name in COLOURERS]


def upscale_choices() -> list[str]:
    """The official files of Real-ESRGAN, and every further model by its own name."""
    official = [f"{name}{ENDING}" for name in UPSCALERS]
    ours = [model.name for model in models.registry().values() if enlarges(model)]
    return official + ours


def enlarges(model: Model) -> bool:
    return model.architecture not in NO_ENLARGEMENT


def upscaler(name: str) -> Model | None:
    """The model of a file that `UpscaleModelLoader` names; None: there is none."""
    found = _model(name, UPSCALERS)
    return found if found and enlarges(found) else None


def colourer(name: str) -> Model | None:
    """The model of a checkpoint that a node of DDColor names; None: there is none."""
    found = _model(name, COLOURERS)
    return found if found and found.architecture == "ddcolor" else None


def _model(name: str, official: Mapping[str, str]) -> Model | None:
    """Folders before the name are the client's own order of its files."""
    plain = name.replace("\\", "/").rpartition("/")[2]
    for ending in ENDINGS:
        plain = plain.removesuffix(ending)
    return models.registry().get(official.get(plain, plain))


def known() -> dict[str, Node]:
    """Every class of nodes by its name."""
    colorize = {
        "model_input_size": _sizes(),
        "checkpoint": [colour_choices(), {"default": f"ddcolor_modelscope{ENDING}"}],
    }
    factor = ["FLOAT", {"default": 1.0, "min": 0.0, "max": 2.0, "step": 0.05}]
    seed_style = {"size": _sizes(), "model_size": _sizes(), "color_factor": factor}
    images = {"images": "IMAGE"}
    prefix = {"filename_prefix": ["STRING", {"default": "ComfyUI"}]}
    return {
        "LoadImage": Node(
            "load",
            "Load Image",
            {},
            ("IMAGE", "MASK"),
            {"image": [[], {"image_upload": True}]},
        ),
        "DDColor_Colorize": Node(
            "colorize", "DDColor Colorize", {"image": "IMAGE"}, ("IMAGE",), colorize
        ),
        "DDColor-ddcolorize": Node(
            "colorize", "DDColor", {"image": "IMAGE"}, ("IMAGE",), seed_style
        ),
        "UpscaleModelLoader": Node(
            "upscale model",
            "Load Upscale Model",
            {},
            ("UPSCALE_MODEL",),
            {"model_name": [upscale_choices()]},
        ),
        "ImageUpscaleWithModel": Node(
            "upscale",
            "Upscale Image (using Model)",
            {"upscale_model": "UPSCALE_MODEL", "image": "IMAGE"},
            ("IMAGE",),
        ),
        "SaveImage": Node("save", "Save Image", images, (), prefix, is_output=True),
        "PreviewImage": Node("save", "Preview Image", images, (), is_output=True),
    }


def object_info(name: str, node: Node) -> dict[str, Any]:
    """A class of nodes in the shape of ComfyUI's `/object_info`."""
    linked = {key: [kind] for key, kind in node.links.items()}
    required = linked | dict(node.widgets)
    return {
        "input": {"required": required},
        "input_order": {"required": list(required)},
        "output": list(node.outputs),
        "output_is_list": [False for _ in node.outputs],
        "output_name": list(node.outputs),
        "name": name,
        "display_name": node.title,
        "description": "",
        "python_module": "darkroom",
        "category": "image",
        "output_node": node.is_output,
    }
