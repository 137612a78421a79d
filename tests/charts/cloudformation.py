"""The template for AWS, read as CloudFormation reads it: short forms of functions in
their long form, loops written out.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import yaml

from tests.charts.tools import ROOT

TEMPLATE = ROOT / "infra/aws/template.yaml"
LOOP = "Fn::ForEach::"
Node = Any


class _Loader(yaml.SafeLoader):
    """Knows CloudFormation's tags."""


def _function(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Node:
    value: Node
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _function)


@functools.cache
def template() -> dict[str, Node]:
    """The whole template."""
    loaded: dict[str, Node] = yaml.load(TEMPLATE.read_text(), _Loader)
    return loaded


@functools.cache
def resources() -> dict[str, Node]:
    """Every resource by its logical id."""
    written: dict[str, Node] = {}
    for name, body in template()["Resources"].items():
        written |= _looped(body) if name.startswith(LOOP) else {name: body}
    return written


def of_type(kind: str) -> dict[str, Node]:
    """Properties of the resources of one type, by their logical ids."""
    return {
        name: one.get("Properties", {})
        for name, one in resources().items()
        if one["Type"] == kind
    }


def _looped(loop: list[Node]) -> dict[str, Node]:
    variable, values, body = loop
    if isinstance(values, dict):
        place: Node = template()["Mappings"]
        for key in values["Fn::FindInMap"]:
            place = place[key]
        values = place
    written = {}
    for value in values:
        plain = re.sub(r"\W", "", value)
        text = json.dumps(body)
        text = text.replace(f"&{{{variable}}}", plain)
        text = text.replace(f"${{{variable}}}", value)
        for name, one in json.loads(text).items():
            written[re.sub(r"\W", "", name)] = one
    return written
