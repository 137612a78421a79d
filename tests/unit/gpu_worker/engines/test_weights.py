"""Model files of every format: read without executing anything, refused when they are
not what they should be.
"""

# ruff: noqa: E402 - nothing of torch may be imported before `needs`

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.extras import needs

needs("torch", "torch")

import torch
from safetensors.torch import save_file

from gpu_worker import models
from gpu_worker.engines import compat, ncnn_weights, weights
from shared.errors import Code, NotFound, PermanentError
from shared.models import Model, ModelFile, get
from shared.runtime.settings import Settings

SMALL = {"conv.weight": torch.ones(2, 2), "conv.bias": torch.zeros(2)}


class Canary:
    """Unpickled without restriction, this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.path, "executed"))


def refused(path: Path) -> str:
    with pytest.raises(PermanentError) as caught:
        weights.read(path)
    assert caught.value.code == Code.MODEL_CORRUPT
    assert path.name in caught.value.detail
    return caught.value.detail


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt"])
def test_executable_content_is_refused_and_not_executed(
    tmp_path: Path, suffix: str
) -> None:
    """In today's zip format, next to real weights."""
    canary, path = tmp_path / "canary", tmp_path / f"model{suffix}"
    torch.save({"params": SMALL, "extra": Canary(canary)}, path)
    assert "was not executed" in refused(path)
    assert not canary.exists()


def test_executable_content_of_an_old_pickle_is_not_executed(tmp_path: Path) -> None:
    """In the format from before 2020, which is a bare pickle."""
    canary, path = tmp_path / "canary", tmp_path / "model.pth"
    torch.save(
        {"params": SMALL, "extra": Canary(canary)},
        path,
        _use_new_zipfile_serialization=False,
    )
    refused(path)
    path.write_bytes(pickle.dumps(Canary(canary)))
    refused(path)
    assert not canary.exists()
    pickle.loads(path.read_bytes())
    assert canary.exists(), "a canary that cannot sing proves nothing"


def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    """It is code, not weights."""
    path = tmp_path / "model.pt"
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.trace(torch.nn.ReLU(), torch.ones(1)).save(str(path))
    refused(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pth", b""),
        ("b.pth", b"PK\x03\x04 not a zip"),
        ("c.safetensors", b"\xff" * 40),
        ("d.onnx", b"x"),
        ("e", b"x"),
    ],
)
def test_what_is_no_weights_file_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes
) -> None:
    """Damaged, empty or of a kind we do not read."""
    path = tmp_path / name
    path.write_bytes(content)
    refused(path)


def test_a_file_of_tensors_that_are_no_weights_is_refused(tmp_path: Path) -> None:
    """Numbers alone are not a network."""
    path = tmp_path / "model.pth"
    torch.save({"epoch": 3}, path)
    refused(path)


@pytest.mark.parametrize("wrap", [None, "params", "params_ema", "state_dict"])
def test_pth_and_safetensors_give_the_same_weights(
    tmp_path: Path, wrap: str | None
) -> None:
    """Whatever the official code wraps them in."""
    torch.save({wrap: SMALL} if wrap else SMALL, tmp_path / "model.pth")
    save_file(SMALL, tmp_path / "model.safetensors")
    for path in tmp_path.iterdir():
        found = weights.read(path)
        assert found.keys() == SMALL.keys()
        assert all(torch.equal(found[name], SMALL[name]) for name in SMALL)


def test_a_file_with_the_wrong_checksum_is_not_even_opened(tmp_path: Path) -> None:
    """The checksum comes first."""
    canary = tmp_path / "canary"
    torch.save(Canary(canary), tmp_path / "model.pth")
    file = ModelFile(role="weights", sha256="0" * 64, bytes=1, path="model.pth")
    model = Model(name="toy", architecture="auto", title="", licence="", files=[file])
    with pytest.raises(PermanentError, match="expected 0000") as caught:
        weights.load(model, Settings(models_dir=tmp_path))
    assert caught.value.code == Code.MODEL_CORRUPT
    assert not canary.exists()


def wheel_files(name: str) -> tuple[Path, Path]:
    model, settings = get(name), Settings()
    return models.locate(model, "ncnn-param", settings), models.locate(
        model, "ncnn-bin", settings
    )


@pytest.mark.parametrize(
    ("name", "architecture", "count"),
    [
        ("realesr-animevideov3", "Compact", 621_424),
        ("realesrgan-x4plus", "ESRGAN", 16_697_987),
        ("realesrgan-x4plus-anime", "ESRGAN", 4_467_779),
    ],
)
def test_the_wheel_holds_the_official_networks(
    name: str, architecture: str, count: int
) -> None:
    """Every weight lands in a network of the official shape: that many parameters, none
    missing, none over.
    """
    descriptor = compat.build(weights.load(get(name), Settings()))
    assert descriptor.architecture.id == architecture
    assert descriptor.scale == 4
    assert sum(p.numel() for p in descriptor.model.parameters()) == count


def test_damaged_ncnn_files_are_refused(tmp_path: Path) -> None:
    """Cut short, too long, another magic number, another way of storing."""
    param, binary = wheel_files("realesr-animevideov3")
    data = binary.read_bytes()
    for bad in (data[:-4], data + bytes(4), b"\x01" + data[1:]):
        (tmp_path / "bad.bin").write_bytes(bad)
        with pytest.raises(PermanentError) as caught:
            ncnn_weights.read(param, tmp_path / "bad.bin", "srvgg")
        assert caught.value.code == Code.MODEL_CORRUPT
    (tmp_path / "bad.param").write_text(
        param.read_text().replace("7767517", "7767516", 1)
    )
    with pytest.raises(PermanentError, match="not an ncnn text"):
        ncnn_weights.read(tmp_path / "bad.param", binary, "srvgg")


def test_weights_stored_in_full_precision_are_read_too(tmp_path: Path) -> None:
    """Tag 0: four bytes a number."""
    (tmp_path / "a.param").write_text(
        "7767517\n2 2\nInput in 0 1 data\nConvolution c 1 1 data output 0=1 1=3 4=1 5=1 6=9\n"
    )
    values = np.arange(9, dtype="<f4") / 7
    (tmp_path / "a.bin").write_bytes(
        bytes(4) + values.tobytes() + np.array([0.3], "<f4").tobytes()
    )
    found = ncnn_weights.read(tmp_path / "a.param", tmp_path / "a.bin", "srvgg")
    assert np.array_equal(found["body.0.weight"].ravel(), values)
    assert found["body.0.bias"] == np.float32(0.3)


@pytest.mark.parametrize("missing", ["torch", "torchvision", "spandrel"])
def test_a_missing_extra_is_named(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    with pytest.raises(NotFound, match=r"pip install .*\[torch\]'") as caught:
        compat.spandrel.__wrapped__()
    assert caught.value.code == Code.MODEL_MISSING
