"""The graphs without weights that the worker ships are those that PyTorch exports."""

# ruff: noqa: E402 - nothing of torch may be imported before `needs`

from __future__ import annotations

from tests.support.extras import needs

needs("torch", "torch")
needs("onnxscript", "test")

from gpu_worker.engines import onnx_graphs
from tests.support import export_graphs


def test_a_graph_that_is_exported_again_is_the_same() -> None:
    network = export_graphs.ddcolor("convnext-t").eval()
    model = export_graphs.export(network, 32)
    content = model.SerializeToString(deterministic=True)
    assert content == onnx_graphs.graph("ddcolor-tiny")
    assert export_graphs.tensors(model, network) == onnx_graphs._listed("ddcolor-tiny")
