"""Weights files read without PyTorch: what PyTorch reads of them, and nothing of what
is hostile or damaged.
"""

# ruff: noqa: E402 - nothing of torch may be imported before `needs`

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_worker.engines import weight_files
from gpu_worker.engines.weight_files import pth, safe_pickle, safetensors_file
from gpu_worker.engines.weight_files.layout import Unreadable
from shared.errors import Code, PermanentError
from tests.support.extras import needs

needs("torch", "torch")

import torch
from safetensors.torch import save_file

TENSORS = OrderedDict(
    {
        "plain": torch.randn(3, 4),
        "transposed": torch.randn(5, 6).t(),
        "scalar": torch.tensor(3.0),
        "part": torch.randn(10)[3:7],
        "empty": torch.zeros(0, 3),
    }
)
MUTANTS = 400


def refused(path: Path) -> str:
    with pytest.raises(PermanentError) as caught:
        weight_files.read(path)
    assert caught.value.code == Code.MODEL_CORRUPT
    assert caught.value.detail.startswith(f"{path.name}: ")
    return caught.value.detail


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def agrees(found: weight_files.State, expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        is_widened = tensor.dtype == torch.bfloat16
        array = (tensor.float() if is_widened else tensor).numpy()
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


@pytest.mark.parametrize("nest", [None, "params", "params_ema", "state_dict"])
@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64]
)
def test_pth_gives_what_pytorch_gives(
    tmp_path: Path, nest: str | None, dtype: torch.dtype
) -> None:
    """Transposed, parts of a storage, empty; whatever they are nested in."""
    state = OrderedDict((name, one.to(dtype)) for name, one in TENSORS.items())
    path = saved(tmp_path / "a.pth", {nest: state} if nest else state)
    read_by_torch = torch.load(path, weights_only=True)
    agrees(weight_files.read(path), read_by_torch[nest] if nest else read_by_torch)


def test_other_types_and_whole_networks_states_are_read(tmp_path: Path) -> None:
    """With the metadata that PyTorch hangs onto a state dictionary."""
    state = torch.nn.BatchNorm2d(3).state_dict()
    state["index"] = torch.arange(4, dtype=torch.int32)
    state["mask"] = torch.tensor([True, False])
    parameter = torch.nn.Parameter(torch.ones(2))
    path = saved(tmp_path / "a.pth", state | {"parameter": parameter})
    agrees(weight_files.read(path), state | {"parameter": parameter.detach()})


def test_a_network_of_several_devices_loses_its_prefix(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"module.weight": torch.ones(2)})
    assert weight_files.read(path).keys() == {"weight"}


def test_safetensors_gives_what_its_library_gives(tmp_path: Path) -> None:
    state = {name: one.contiguous() for name, one in TENSORS.items()}
    state["half"] = torch.ones(3, dtype=torch.float16)
    state["brain"] = torch.ones(3, dtype=torch.bfloat16)
    save_file(state, tmp_path / "a.safetensors")
    agrees(weight_files.read(tmp_path / "a.safetensors"), state)


class Canary:
    """Unpickled without restriction, this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.path, "executed"))


def test_code_is_refused_by_name_and_not_executed(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = saved(tmp_path / "a.pth", {"params": TENSORS, "extra": Canary(canary)})
    assert "was not executed" in refused(path)
    assert not canary.exists()


@pytest.mark.parametrize(
    "content",
    [
        {"epoch": 3},
        {"a": "text"},
        [torch.ones(2)],
        5,
        {},
        {("a", "b"): torch.ones(2)},
    ],
    ids=str,
)
def test_what_is_no_dictionary_of_tensors_is_refused(
    tmp_path: Path, content: Any
) -> None:
    refused(saved(tmp_path / "a.pth", content))


def test_modules_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", torch.nn.Linear(2, 2))
    assert "torch.nn.modules.linear Linear" in refused(path)


def test_the_format_before_1_6_is_refused_with_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=False)
    assert "DARKROOM_ENGINE=torch" in refused(path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_no_numbers_are_refused_by_the_tensors_name(
    tmp_path: Path, bad: float
) -> None:
    state = {"good": torch.ones(3), "bad.weight": torch.tensor([1.0, bad, 2.0])}
    path = saved(tmp_path / "a.pth", state)
    assert "bad.weight holds NaN or infinity" in refused(path)


def rewritten(path: Path, change: Callable[[str, bytes], bytes], how: int) -> Path:
    """The archive with each entry changed."""
    source = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    with zipfile.ZipFile(path, "w", how) as archive:
        for name in source.namelist():
            archive.writestr(name, change(name, source.read(name)))
    return path


def test_compressed_entries_are_refused(tmp_path: Path) -> None:
    """No small file becomes a large one."""
    path = saved(tmp_path / "a.pth", {"a": torch.zeros(1000)})
    rewritten(path, lambda _, content: content, zipfile.ZIP_DEFLATED)
    assert "is compressed" in refused(path)


def test_numbers_of_the_other_order_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"a": torch.zeros(3)})

    def swapped(name: str, content: bytes) -> bytes:
        return b"big" if name.endswith("/byteorder") else content

    assert "little-endian" in refused(rewritten(path, swapped, zipfile.ZIP_STORED))


def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"a": torch.zeros(3)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/code/__torch__.py", "")
    assert "TorchScript" in refused(path)


def test_repeated_elements_are_refused(tmp_path: Path) -> None:
    """A tensor of a trillion equal elements is a few bytes in a file."""
    path = saved(tmp_path / "a.pth", {"a": torch.ones(1).expand(10**12)})
    assert "beyond its storage" in refused(path)


def test_many_tensors_of_one_storage_are_refused(tmp_path: Path) -> None:
    shared = torch.ones(100_000)
    path = saved(tmp_path / "a.pth", {str(number): shared for number in range(9)})
    assert "together" in refused(path)


@pytest.mark.parametrize(
    ("pickled", "rule"),
    [
        (b"\x80\x02r\xff\xff\xff\xff.", "no valid pickle"),
        (b"\x80\x02cos\nsystem\n(X\x01\x00\x00\x00atR.", "was not executed"),
        (b"(S'echo'\nios\nsystem\n.", "STRING"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "STACK_GLOBAL"),
        (b"\x80\x02}", "breaks off|exhausted"),
        (b"\x80\x02}(K\x01K\x02u.", "not text"),
        (b"\x80\x02)R.", "no valid pickle"),
        (b"\x80\x02K\x01K\x02R.", "no valid pickle"),
        (b"\x80\x02(.", "no valid pickle"),
    ],
)
def test_each_kind_of_hostile_pickle_is_refused_by_its_rule(
    pickled: bytes, rule: str
) -> None:
    with pytest.raises((Unreadable, ValueError), match=rule):
        safe_pickle.load(pickled, {}, lambda reference: reference)


HEADERS = [
    ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, "do not agree"),
    ({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}, "larger"),
    ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, "whole numbers"),
    ({"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}}, "whole numbers"),
    ({"a": {"dtype": "F8", "shape": [1], "data_offsets": [0, 1]}}, "F8"),
    ({"a": {"dtype": "F32", "shape": [1]}}, "other than tensors"),
    ({"a": 3}, "other than tensors"),
    ([], "no JSON object"),
    ({}, "no tensors"),
]


@pytest.mark.parametrize(("header", "rule"), HEADERS, ids=str)
def test_a_header_that_lies_is_refused(tmp_path: Path, header: Any, rule: str) -> None:
    path = tmp_path / "a.safetensors"
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    assert rule in refused(path)


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":1,"a":2}', b"\xff"])
def test_a_header_that_is_no_header_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    assert "no JSON" in refused(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 40, b"PK\3\4 no archive"])
def test_what_is_no_weights_file_is_refused(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    refused(path)


def test_an_unknown_extension_is_refused_with_those_that_are_read(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.onnx").write_bytes(b"x")
    assert ".safetensors" in refused(tmp_path / "a.onnx")


@pytest.mark.parametrize("reader", [pth.tensors, safetensors_file.tensors])
def test_mutants_are_read_or_refused_and_nothing_else(
    tmp_path: Path, reader: Any
) -> None:
    """Flipped bytes and cut ends raise one kind of error; what is read stays within the
    file's size.
    """
    state = {"a": torch.randn(100), "b": torch.randn(4, 5)}
    suffix = ".pth" if reader is pth.tensors else ".safetensors"
    path = tmp_path / f"a{suffix}"
    if suffix == ".pth":
        torch.save({"params": state}, path)
    else:
        save_file(state, path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    read = 0
    for _ in range(MUTANTS):
        mutant = bytearray(whole)
        for place in random.integers(len(mutant), size=random.integers(1, 6)):
            mutant[place] = random.integers(256)
        if random.random() < 0.2:
            del mutant[random.integers(len(mutant)) :]
        path.write_bytes(mutant)
        try:
            found = weight_files.read(path)
        except PermanentError:
            continue
        read += 1
        assert sum(array.nbytes for array in found.values()) <= 4 * len(whole)
    print(f"{MUTANTS} mutants of {suffix}: {read} read, {MUTANTS - read} refused")
    assert 0 < read < MUTANTS
