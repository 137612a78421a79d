"""`python -m tests.support.export_graphs [NAME…]`: writes the ONNX graphs without
weights that the worker ships, from the architectures' own PyTorch code.

Every tensor of the state dictionary becomes an external initialiser under its own name,
so that an official file fits without a table of names. The graph is not optimised here:
that would fold weights into it. ONNX Runtime optimises when it loads.
"""

from __future__ import annotations

import gzip
import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx
import torch

from gpu_worker.engines import compat
from gpu_worker.engines.onnx_graphs import FOLDER

OPSET = 20
MOST_CONSTANT_BYTES = 64_000
"""A graph's tables of indices; anything larger would be weights."""
MOST_SIDE_PX = 4096
SAMPLE_PX = 256


@dataclass(frozen=True)
class Source:
    """How a graph is made: its network, and the multiple that its sides must have."""

    network: Callable[[], torch.nn.Module]
    multiple: int


def ddcolor(encoder: str) -> torch.nn.Module:
    """DDColor with random weights: `encoder` is `convnext-l` or `convnext-t`."""
    compat.spandrel()
    from spandrel_extra_arches.architectures.DDColor import DDColor

    return DDColor(
        encoder_name=encoder,
        num_output_channels=2,
        last_norm="Spectral",
        num_queries=100,
        num_scales=3,
        dec_layers=9,
    )


def scunet() -> torch.nn.Module:
    """SCUNet with random weights; its masks are computed in a way that can be exported
    with sides that vary.
    """
    compat.spandrel()
    from spandrel.architectures.SCUNet import SCUNet
    from spandrel.architectures.SCUNet.__arch.SCUNet import WMSA

    network = SCUNet()
    for module in network.modules():
        if isinstance(module, WMSA):
            vars(module)["generate_mask"] = _window_mask
    # Whoever runs the graph sees to the sides.
    vars(network)["check_image_size"] = lambda picture: picture
    return network


def _window_mask(h: int, w: int, p: int, shift: int) -> torch.Tensor:
    """SCUNet's `generate_mask` by comparison in place of assignment to slices.

    In the last row and column of shifted windows two pixels see each other only where
    they lie in the same part of the picture.
    """
    half = torch.arange(p) < p - shift
    apart = half[:, None] != half[None, :]
    is_last_row = torch.arange(h) == h - 1
    is_last_column = torch.arange(w) == w - 1
    rows = is_last_row[:, None, None, None, None, None] & apart[:, None, :, None]
    columns = is_last_column[None, :, None, None, None, None] & apart[None, :, None, :]
    return (rows | columns).reshape(1, 1, h * w, p * p, p * p)


SOURCES = {
    "ddcolor-large": Source(lambda: ddcolor("convnext-l"), 32),
    "ddcolor-tiny": Source(lambda: ddcolor("convnext-t"), 32),
    "scunet": Source(scunet, 64),
}


def export(network: torch.nn.Module, multiple: int) -> onnx.ModelProto:
    """The graph of a network, (1, 3, h, w) -> (1, c, h, w), without one weight; sides
    are multiples of `multiple`.
    """
    sides = [
        torch.export.Dim(name, min=2, max=MOST_SIDE_PX // multiple)
        for name in ("rows", "columns")
    ]
    height, width = (multiple * side for side in sides)
    sample = torch.rand(1, 3, SAMPLE_PX, SAMPLE_PX)
    with warnings.catch_warnings(action="ignore"):
        program = torch.onnx.export(
            network,
            (sample,),
            dynamo=True,
            dynamic_shapes=({2: height, 3: width},),
            input_names=["picture"],
            output_names=["result"],
            opset_version=OPSET,
            optimize=False,
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    _take_weights_out(model, set(network.state_dict()))
    _rename_values(model)
    _drop_notes(model)
    return model


def _take_weights_out(model: onnx.ModelProto, weights: set[str]) -> None:
    for tensor in model.graph.initializer:
        if tensor.name not in weights:
            assert len(tensor.raw_data) <= MOST_CONSTANT_BYTES, tensor.name
            continue
        length = onnx.numpy_helper.to_array(tensor).nbytes
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        place = {"location": "weights", "offset": "0", "length": str(length)}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=value)


def _rename_values(model: onnx.ModelProto) -> None:
    """Give every value between the nodes a name of its own: one may be called as a
    weight is, such as `mean`.
    """
    outputs = {output.name for output in model.graph.output}
    renamed: dict[str, str] = {}
    for node in model.graph.node:
        assert not any(one.HasField("g") for one in node.attribute), "a nested graph"
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)
        for place, name in enumerate(node.output):
            if name and name not in outputs:
                renamed[name] = f"v{len(renamed)}"
                node.output[place] = renamed[name]


def _drop_notes(model: onnx.ModelProto) -> None:
    """Names, scopes and stack traces of the exporter, which name files of a machine."""
    graph = model.graph
    for noted in (model, graph, *graph.node, *graph.input, *graph.output):
        noted.doc_string = ""
        del noted.metadata_props[:]
    for node in graph.node:
        node.name = ""
    del graph.value_info[:]
    graph.name = "network"


def tensors(
    model: onnx.ModelProto, network: torch.nn.Module
) -> dict[str, list[int] | None]:
    """The tensors of the network's files, with the shapes of those that the graph
    takes.
    """
    listed: dict[str, list[int] | None] = dict.fromkeys(network.state_dict())
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            listed[tensor.name] = list(tensor.dims)
    return listed


def tamed(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The network with random weights whose results are neither nothing nor infinite.

    Spectral norm's vectors are brought where training leaves them: random ones make
    the weights enormous.
    """
    torch.manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if hasattr(module, "weight_orig"):
                _converge(module)
        for name, parameter in network.named_parameters():
            if name.endswith("gamma"):
                parameter.copy_(0.1 + 0.2 * torch.rand_like(parameter))
            elif "relative" in name:
                parameter.mul_(20)
            elif name.endswith("bias"):
                parameter.add_(0.02 * torch.randn_like(parameter))
    return network.eval()


def _converge(module: Any) -> None:
    weight = module.weight_orig.flatten(1)
    normalize = torch.nn.functional.normalize
    for _ in range(30):
        module.weight_v.copy_(normalize(weight.t() @ module.weight_u, dim=0))
        module.weight_u.copy_(normalize(weight @ module.weight_v, dim=0))


def main(names: list[str]) -> None:
    """Write the graphs with these names; without names all of them."""
    for name in names or SOURCES:
        network = SOURCES[name].network().eval()
        model = export(network, SOURCES[name].multiple)
        listed = tensors(model, network)
        content = model.SerializeToString(deterministic=True)
        packed = gzip.compress(content, mtime=0)
        (FOLDER / f"{name}.onnx.gz").write_bytes(packed)
        (FOLDER / f"{name}.json").write_text(json.dumps(listed, indent=0) + "\n")
        print(f"{name}: {len(packed):,} bytes, {len(listed)} tensors")


if __name__ == "__main__":
    main(sys.argv[1:])
