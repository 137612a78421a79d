"""What a prompt comes to, and what a hostile one comes to."""

from __future__ import annotations

from typing import Any

import pytest

from handlers.comfyui import graphs, nodes
from handlers.comfyui.errors import Refusal
from shared import workflows
from tests.support.comfyui import colour_prompt, prompt


def workflow_of(graph: Any) -> tuple[str | None, dict[str, Any]]:
    reading = graphs.read(graph)
    assert reading.node_errors == {}
    (wish,) = reading.wishes
    if wish.workflow:
        workflows.resolve(wish.workflow, wish.params)
    return wish.workflow, dict(wish.params)


def coloured_and_enlarged(**colour: Any) -> Any:
    graph = prompt(model="upscale/RealESRGAN_x2plus.pth")
    inputs = {"image": ["1", 0], **colour}
    graph["2"] = {"class_type": "DDColor_Colorize", "inputs": inputs}
    graph["4"]["inputs"]["image"] = ["2", 0]
    return graph


@pytest.mark.parametrize(
    ("graph", "workflow", "params"),
    [
        (colour_prompt(size=512), "portrait", {"model_size": 512}),
        (colour_prompt(model_size="680"), "portrait", {"model_size": 680}),
        (
            colour_prompt(size=960, color_factor=0.8),
            "building",
            {"model_size": 960, "color_factor": 0.8},
        ),
        (colour_prompt(), "portrait", {}),
        (prompt(), "enhance", {"model": "realesrgan-x4plus", "scale": 4}),
        (
            coloured_and_enlarged(checkpoint="ddcolor_artistic.pth"),
            "oldphoto",
            {
                "model": "realesrgan-x2plus",
                "scale": 2,
                "colour_model": "ddcolor-artistic",
            },
        ),
    ],
)
def test_a_prompt_comes_to_a_workflow(
    graph: Any, workflow: str, params: dict[str, Any]
) -> None:
    assert workflow_of(graph) == (workflow, params)


def test_every_choice_that_is_offered_is_a_model() -> None:
    for name in nodes.upscale_choices():
        model = nodes.upscaler(name)
        assert model is not None, name
        workflow_of(prompt(model=name))
    for name in nodes.colour_choices():
        assert nodes.colourer(name), name


def test_an_output_of_the_photo_itself_needs_no_work() -> None:
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    assert workflow_of(graph) == (None, {})


def changed(node: str, **inputs: Any) -> Any:
    graph = coloured_and_enlarged()
    graph[node]["inputs"] |= inputs
    return graph


FAULTS: dict[str, tuple[Any, str, str]] = {
    "a size below": (changed("2", size=64), "2", "value_smaller_than_min"),
    "a size above": (changed("2", model_size=4096), "2", "value_bigger_than_max"),
    "a size that is none": (changed("2", size=[1]), "2", "invalid_input_type"),
    "a huge size": (changed("2", size=10**400), "2", "invalid_input_type"),
    "no number": (changed("2", color_factor="nan"), "2", "invalid_input_type"),
    "true": (changed("2", color_factor=True), "2", "invalid_input_type"),
    "two sizes": (
        changed("2", size=512, model_size=640),
        "2",
        "custom_validation_failed",
    ),
    "no such model": (changed("3", model_name="x.pth"), "3", "value_not_in_list"),
    "a model of colour": (
        changed("3", model_name="ddcolor-artistic"),
        "3",
        "value_not_in_list",
    ),
    "a link to nowhere": (changed("4", image=["9", 0]), "4", "bad_linked_input"),
    "a link of numbers": (changed("4", image=[1, 0]), "4", "bad_linked_input"),
    "a long link": (changed("4", image=["1", 0, 0]), "4", "bad_linked_input"),
    "a link that is true": (changed("4", image=["1", True]), "4", "bad_linked_input"),
    "a mask": (changed("4", image=["1", 1]), "4", "return_type_mismatch"),
    "a slot below": (changed("4", image=["1", -1]), "4", "return_type_mismatch"),
    "a model as a photo": (changed("4", image=["3", 0]), "4", "return_type_mismatch"),
    "a cycle of one": (changed("4", image=["4", 0]), "4", "dependency_cycle"),
    "a cycle of two": (changed("2", image=["4", 0]), "2", "dependency_cycle"),
    "no photo": (
        {**coloured_and_enlarged(), "1": {"class_type": "LoadImage"}},
        "1",
        "required_input_missing",
    ),
    "a photo that is none": (changed("1", image={"a": 1}), "1", "invalid_input_type"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_does_not_fit_is_an_error_of_its_node(name: str) -> None:
    graph, node, kind = FAULTS[name]
    reading = graphs.read(graph)
    assert reading.wishes == []
    (errors,) = [reading.node_errors[node]]
    assert [error["type"] for error in errors["errors"]] == [kind]
    assert errors["dependent_outputs"] == ["5"]
    assert set(errors["errors"][0]) == {"type", "message", "details", "extra_info"}


def test_colour_comes_before_the_enlargement() -> None:
    graph = prompt()
    graph["2"] = {"class_type": "DDColor_Colorize", "inputs": {"image": ["4", 0]}}
    graph["5"]["inputs"]["images"] = ["2", 0]
    errors = graphs.read(graph).node_errors["4"]["errors"]
    assert "colour once, then enlarge once" in errors[0]["details"]


def chain(length: int) -> Any:
    graph: Any = {"0": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}}
    for number in range(1, length):
        inputs = {"image": [str(number - 1), 0]}
        graph[str(number)] = {"class_type": "DDColor_Colorize", "inputs": inputs}
    inputs = {"images": [str(length - 1), 0]}
    graph["out"] = {"class_type": "SaveImage", "inputs": inputs}
    return graph


REFUSED: dict[str, tuple[Any, str]] = {
    "nothing": (None, "no_prompt"),
    "a list": ([1], "no_prompt"),
    "no node": ({}, "no_prompt"),
    "the editor's format": ({"nodes": [], "links": []}, "missing_node_type"),
    "a node that is a text": ({"1": "x"}, "missing_node_type"),
    "a class that is a list": ({"1": {"class_type": []}}, "missing_node_type"),
    "an unknown class": ({"1": {"class_type": "KSampler"}}, "missing_node_type"),
    "inputs that are a list": (
        {"1": {"class_type": "SaveImage", "inputs": []}},
        "invalid_prompt",
    ),
    "no output": ({"1": {"class_type": "LoadImage"}}, "prompt_no_outputs"),
    "ten thousand nodes": (chain(10_000), "invalid_prompt"),
    "a long id": ({"x" * 1000: {"class_type": "LoadImage"}}, "invalid_prompt"),
    "many outputs": (
        {str(n): {"class_type": "SaveImage", "inputs": {}} for n in range(20)},
        "invalid_prompt",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_prompt_that_is_none_is_refused_with_the_way_out(name: str) -> None:
    graph, kind = REFUSED[name]
    with pytest.raises(Refusal) as caught:
        graphs.read(graph)
    fault = caught.value.fault
    assert (fault.kind, caught.value.status) == (kind, 400)
    assert fault.details
    assert len(fault.shown()["details"]) <= 500


def test_a_long_chain_is_an_error_of_one_node() -> None:
    errors = graphs.read(chain(400)).node_errors
    assert list(errors) == ["398"]
