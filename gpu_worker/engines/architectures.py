"""What is known of each architecture, in one table. A new one is an entry here, and a
graph in `onnx_graphs` where it shall run without PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.models import Model

UNKNOWN_BYTES_PER_PX = 100_000
"""Other architectures: transformers need most. Where it is too little, the ladder of
smaller tiles mends it.
"""


@dataclass(frozen=True)
class Architecture:
    """How networks of one architecture are recognised, fed and read.

    `spandrel`: the name that spandrel gives it. `takes`: tiles of a photo, or one whole
    picture of floats. `gives`: a picture in the range of the input, or a and b of CIE
    Lab. `invents`: what it puts in that the photo did not hold. `input_range`: the
    network's values for black and white. `multiple`: sides must be multiples of it.
    `bytes_per_px`: peak working memory per input pixel by engine, measured on the CPU in
    fp32, with a margin. `graphs`: its graphs in `onnx_graphs`. `is_whole_graph`: its file
    is an ONNX graph with the weights inside. `arguments`: what its PyTorch code is called
    with beside the picture.
    """

    spandrel: str
    takes: Literal["tiles", "picture"] = "tiles"
    gives: Literal["picture", "ab"] = "picture"
    invents: Literal["nothing", "detail", "colour"] = "nothing"
    input_range: tuple[float, float] = (0.0, 1.0)
    multiple: int = 1
    bytes_per_px: Mapping[str, int] = field(default_factory=dict)
    graphs: tuple[str, ...] = ()
    is_whole_graph: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)


ARCHITECTURES = {
    # x4plus, 23 blocks
    "rrdb": Architecture(
        "ESRGAN",
        invents="detail",
        bytes_per_px={"torch": 18_000},
    ),
    # animevideov3, 16 inner convolutions
    "srvgg": Architecture(
        "Compact",
        invents="detail",
        bytes_per_px={"torch": 2_500},
    ),
    "scunet": Architecture(
        "SCUNet",
        multiple=64,
        bytes_per_px={"torch": 10_000, "onnxruntime": 6_000},
        graphs=("scunet",),
    ),
    # the large variant at 512 px
    "ddcolor": Architecture(
        "DDColor",
        takes="picture",
        gives="ab",
        invents="colour",
        multiple=32,
        bytes_per_px={"torch": 4_000, "onnxruntime": 5_500},
        graphs=("ddcolor-large", "ddcolor-tiny"),
    ),
    # spandrel's own call feeds it 0..1 where it was trained on -1..1, and lets it draw
    # its noise anew each time.
    "gfpgan": Architecture(
        "GFPGAN",
        takes="picture",
        invents="detail",
        input_range=(-1.0, 1.0),
        bytes_per_px={"torch": 6_000},
        arguments={"return_rgb": False, "randomize_noise": False},
    ),
    "restoreformer": Architecture(
        "RestoreFormer",
        takes="picture",
        invents="detail",
        input_range=(-1.0, 1.0),
        bytes_per_px={"onnxruntime": 8_000},
        is_whole_graph=True,
    ),
    # `engines.lama` runs it.
    "lama": Architecture(
        "LaMa",
        takes="picture",
        invents="detail",
        bytes_per_px={"onnxruntime": 8_000},
        is_whole_graph=True,
    ),
}
"""`Model.architecture` → what is known of it. Weights of any other architecture are
`auto`: spandrel tells what they are, and they take tiles.
"""


def of(model: Model) -> Architecture | None:
    """The architecture of `model`; None for one that only spandrel knows."""
    return ARCHITECTURES.get(model.architecture)


def has_graph(model: Model) -> bool:
    """Whether ONNX Runtime can run `model`, with a graph that is shipped here or the
    model's own.
    """
    known = of(model)
    return known is not None and (bool(known.graphs) or known.is_whole_graph)


def is_whole_graph(model: Model) -> bool:
    """Whether the file of `model` is an ONNX graph with its weights inside."""
    known = of(model)
    return known is not None and known.is_whole_graph


def bytes_per_px(model: Model, engine: str) -> int:
    """Peak working memory per input pixel on this engine."""
    known = of(model)
    if known is None:
        return UNKNOWN_BYTES_PER_PX
    return known.bytes_per_px.get(engine, UNKNOWN_BYTES_PER_PX)
