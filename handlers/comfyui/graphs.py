"""From a prompt, a graph of nodes in ComfyUI's API format, to what is to be made for each
of its outputs.

The graph is a stranger's: it is walked backwards from each output, every node at most
once, and what does not fit is an error of its node.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from handlers.comfyui import nodes
from handlers.comfyui.errors import NodeFault, Refusal
from handlers.comfyui.nodes import Node
from shared.models import Model

MOST_NODES = 500
MOST_OUTPUTS = 16
MOST_CHARS = 200
"""Of a node's id, of a class's name, and of what is quoted."""
DEFAULT_PREFIX = "ComfyUI"
SIZES = ("model_input_size", "size", "model_size")
"""Names that nodes of DDColor have for the side of the network's input."""
EXPORT = "export it from the editor by 'Export (API)', formerly 'Save (API Format)', and send that file"

Graph = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Wish:
    """What is to be made for an output: `workflow` with `params` of the photo `image`;
    without a workflow the output shows the photo as it is.
    """

    node: str
    image: str
    workflow: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = DEFAULT_PREFIX
    temporary: bool = False
    loader: str = ""
    """The node that names the photo."""


@dataclass
class Reading:
    """What a graph wishes, and the errors of its nodes in ComfyUI's shape."""

    wishes: list[Wish] = field(default_factory=list)
    node_errors: dict[str, Any] = field(default_factory=dict)

    def refuse(self, graph: Graph, node: str, output: str, fault: NodeFault) -> None:
        """Note a fault of a node, on which an output depends."""
        errors = self.node_errors.setdefault(
            node,
            {
                "errors": [],
                "dependent_outputs": [],
                "class_type": graph[node]["class_type"],
            },
        )
        if output not in errors["dependent_outputs"]:
            errors["dependent_outputs"].append(output)
        shown = fault.shown()
        if shown not in errors["errors"]:
            errors["errors"].append(shown)


class _Fault(Exception):
    """A node that does not fit."""

    def __init__(self, node: str, fault: NodeFault) -> None:
        super().__init__(fault.message)
        self.node = node
        self.fault = fault


def read(prompt: Any, targets: Collection[str] | None = None) -> Reading:
    """What a prompt wishes. `targets`: only these of its outputs.

    Raises `Refusal` where no output can be made at all.
    """
    graph = _checked(prompt)
    outputs = [name for name in graph if _class_of(graph, name).is_output]
    if targets is not None:
        outputs = [name for name in outputs if name in targets]
    if not outputs:
        detail = "a prompt needs a SaveImage or a PreviewImage"
        raise Refusal("prompt_no_outputs", "Prompt has no outputs", detail)
    if len(outputs) > MOST_OUTPUTS:
        detail = f"{len(outputs)} outputs; a prompt may have {MOST_OUTPUTS}: send several prompts"
        raise Refusal("invalid_prompt", "Prompt has too many outputs", detail)
    reading = Reading()
    for output in outputs:
        try:
            reading.wishes.append(_wish(graph, output))
        except _Fault as error:
            reading.refuse(graph, error.node, output, error.fault)
    return reading


def _checked(prompt: Any) -> Graph:
    """The prompt as a graph of known nodes. Raises `Refusal`."""
    if isinstance(prompt, dict) and isinstance(prompt.get("nodes"), list):
        message = "this is a workflow as ComfyUI's editor saves it, not a prompt"
        raise Refusal("missing_node_type", message, EXPORT)
    if not isinstance(prompt, dict) or not prompt:
        detail = "`prompt` is an object of nodes by their ids"
        raise Refusal("no_prompt", "No prompt provided", detail)
    if len(prompt) > MOST_NODES:
        detail = f"{len(prompt):,} nodes; a prompt may have {MOST_NODES}"
        raise Refusal("invalid_prompt", "Prompt has too many nodes", detail)
    for name, node in prompt.items():
        _check_node(name, node)
    return prompt


def _check_node(name: str, node: Any) -> None:
    """Raises `Refusal` for what is no node, or one of an unknown class."""
    shown = f"Node ID '#{name[:MOST_CHARS]}'"
    if len(name) > MOST_CHARS:
        detail = f"{shown}: an id may have {MOST_CHARS} characters"
        raise Refusal("invalid_prompt", "A node's id is too long", detail)
    known = nodes.known()
    class_type = node.get("class_type") if isinstance(node, dict) else None
    if not isinstance(class_type, str):
        message = "Cannot execute because a node is missing the class_type property."
        raise Refusal("missing_node_type", message, f"{shown}; {EXPORT}")
    if class_type not in known:
        message = f"Node '{class_type[:MOST_CHARS]}' not found."
        detail = f"{shown}; here there are {', '.join(known)}: leave others out, or run the graph on ComfyUI itself"
        raise Refusal("missing_node_type", message, detail)
    if not isinstance(node.get("inputs", {}), dict):
        detail = f"{shown}: `inputs` is an object"
        raise Refusal("invalid_prompt", "A node's inputs cannot be read", detail)


def _class_of(graph: Graph, name: str) -> Node:
    return nodes.known()[graph[name]["class_type"]]


def _inputs(graph: Graph, name: str) -> Mapping[str, Any]:
    inputs: Mapping[str, Any] = graph[name].get("inputs", {})
    return inputs


def _wish(graph: Graph, output: str) -> Wish:
    """Walk back from an output to its photo. Raises `_Fault`."""
    seen = [output]
    model: Model | None = None
    colour: dict[str, Any] | None = None
    name, link = output, "images"
    while True:
        name = _linked(graph, name, link, "IMAGE", seen)
        seen.append(name)
        kind, link = _class_of(graph, name).kind, "image"
        if kind == "load":
            break
        if kind == "upscale":
            if model or colour is not None:
                raise _Fault(name, _order())
            model = _upscaler(graph, name, seen)
        if kind == "colorize":
            if colour is not None:
                raise _Fault(name, _order())
            colour = _colour(graph, name)
    workflow, params = _workflow(colour, model)
    is_saved = graph[output]["class_type"] == "SaveImage"
    return Wish(
        node=output,
        image=_text(graph, name, "image"),
        workflow=workflow,
        params=params,
        prefix=_prefix(graph, output) if is_saved else "",
        temporary=not is_saved,
        loader=name,
    )


def _workflow(
    colour: Mapping[str, Any] | None, model: Model | None
) -> tuple[str | None, dict[str, Any]]:
    """The workflow that does the same, and its parameters."""
    params = dict(colour or {})
    if model:
        params |= {"model": model.name, "scale": model.scale}
    if colour is None:
        return ("enhance" if model else None), params
    if model:
        params["colour_model"] = colour.get("model", "ddcolor-modelscope")
        return "oldphoto", params
    is_large = params.get("model_size", 0) >= nodes.LARGE_PX
    return ("building" if is_large else "portrait"), params


def _linked(
    graph: Graph, name: str, link: str, kind: str, seen: Collection[str]
) -> str:
    """The node that an input of a node comes from. Raises `_Fault`."""
    inputs = _inputs(graph, name)
    extra = {"input_name": link}
    if link not in inputs:
        fault = NodeFault(
            "required_input_missing", "Required input is missing", link, extra
        )
        raise _Fault(name, fault)
    value = inputs[link]
    is_link = isinstance(value, list) and len(value) == 2
    if not is_link or not isinstance(value[0], str) or type(value[1]) is not int:
        detail = f"{link}: a link is a list of a node's id, as text, and a number"
        fault = NodeFault(
            "bad_linked_input",
            "Bad linked input, must be a length-2 list of [node_id, slot_index]",
            detail,
            extra,
        )
        raise _Fault(name, fault)
    source: str = value[0]
    slot: int = value[1]
    if source not in graph:
        detail = f"{link}: there is no node {source[:MOST_CHARS]!r}"
        raise _Fault(
            name, NodeFault("bad_linked_input", "Bad linked input", detail, extra)
        )
    outputs = _class_of(graph, source).outputs
    received = outputs[slot] if 0 <= slot < len(outputs) else "nothing"
    if received != kind:
        message = "Return type mismatch between linked nodes"
        detail = f"{link}, received_type({received}) mismatch input_type({kind})"
        raise _Fault(name, NodeFault("return_type_mismatch", message, detail, extra))
    if source in seen:
        detail = f"{link} leads back to node {source!r}"
        message = "Dependency cycle detected"
        raise _Fault(name, NodeFault("dependency_cycle", message, detail, extra))
    return source


def _order() -> NodeFault:
    message = "Darkroom has no workflow for these nodes in this order"
    detail = "colour once, then enlarge once: LoadImage, DDColor_Colorize, ImageUpscaleWithModel, SaveImage"
    return NodeFault("custom_validation_failed", message, detail)


def _upscaler(graph: Graph, name: str, seen: Collection[str]) -> Model:
    loader = _linked(graph, name, "upscale_model", "UPSCALE_MODEL", seen)
    wanted = _text(graph, loader, "model_name")
    model = nodes.upscaler(wanted)
    if model is None:
        raise _Fault(loader, _not_in("model_name", wanted, nodes.upscale_choices()))
    return model


def _colour(graph: Graph, name: str) -> dict[str, Any]:
    """The parameters of a node of DDColor. What is left out is as the workflow has it."""
    inputs = _inputs(graph, name)
    params: dict[str, Any] = {}
    least, most = nodes.size_range()
    sizes = {
        _number(graph, name, key, least, most, whole=True)
        for key in SIZES
        if key in inputs
    }
    if len(sizes) > 1:
        detail = f"{', '.join(SIZES)} are names of the same thing; give one of them"
        message = "Several sizes"
        raise _Fault(name, NodeFault("custom_validation_failed", message, detail))
    if sizes:
        params["model_size"] = int(sizes.pop())
    if "color_factor" in inputs:
        params["color_factor"] = _number(graph, name, "color_factor", 0, 2)
    if "checkpoint" in inputs:
        wanted = _text(graph, name, "checkpoint")
        model = nodes.colourer(wanted)
        if model is None:
            raise _Fault(name, _not_in("checkpoint", wanted, nodes.colour_choices()))
        params["model"] = model.name
    return params


def _not_in(name: str, wanted: str, choices: list[str]) -> NodeFault:
    detail = f"{name}: '{wanted[:MOST_CHARS]}' not in {choices}; `darkroom models add` adds a file"
    return NodeFault(
        "value_not_in_list", "Value not in list", detail, {"input_name": name}
    )


def _text(graph: Graph, name: str, key: str) -> str:
    inputs = _inputs(graph, name)
    extra = {"input_name": key}
    if key not in inputs:
        message = "Required input is missing"
        raise _Fault(name, NodeFault("required_input_missing", message, key, extra))
    value = inputs[key]
    if not isinstance(value, str):
        message = "Failed to convert an input value to a STRING value"
        detail = f"{key}: a text is wanted"
        raise _Fault(name, NodeFault("invalid_input_type", message, detail, extra))
    return value


def _prefix(graph: Graph, name: str) -> str:
    if "filename_prefix" not in _inputs(graph, name):
        return DEFAULT_PREFIX
    return _text(graph, name, "filename_prefix")


def _number(
    graph: Graph, name: str, key: str, least: float, most: float, whole: bool = False
) -> float:
    """A number, which may also be written as text. Raises `_Fault`."""
    value = _inputs(graph, name)[key]
    extra = {"input_name": key}
    number = _as_number(value, whole)
    if number is None:
        kind = "INT" if whole else "FLOAT"
        message = f"Failed to convert an input value to a {kind} value"
        detail = f"{key}: a number from {least} to {most} is wanted"
        raise _Fault(name, NodeFault("invalid_input_type", message, detail, extra))
    if number < least:
        message = f"Value {number:g} smaller than min of {least}"
        detail = f"{key}: from {least} to {most}"
        raise _Fault(name, NodeFault("value_smaller_than_min", message, detail, extra))
    if number > most:
        message = f"Value {number:g} bigger than max of {most}"
        detail = f"{key}: from {least} to {most}"
        raise _Fault(name, NodeFault("value_bigger_than_max", message, detail, extra))
    return number


def _as_number(value: Any, whole: bool) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and len(value) > 20:
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not isfinite(number):
        return None
    return float(int(number)) if whole else number
