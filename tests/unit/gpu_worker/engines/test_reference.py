"""The official code behind our protocol: its own pixels, its traps shut, and the others
checked against it.
"""

# ruff: noqa: E402 - nothing of torch may be imported before `needs`

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.extras import needs
from tests.support.pictures import difference, photo_like

needs("realesrgan", "reference")

import torch

from gpu_worker.engines import compat, weights
from gpu_worker.engines.ncnn_engine import NcnnEngine
from gpu_worker.engines.reference import ReferenceEngine
from gpu_worker.engines.torch_engine import TorchEngine
from gpu_worker.photo import Pixels
from shared.errors import Code, NotFound, PermanentError
from shared.models import Model, ModelFile, get
from shared.runtime.settings import Settings

SIZES = {
    "realesr-animevideov3": (61, 83),
    "realesrgan-x4plus": (11, 14),
    "realesrgan-x4plus-anime": (17, 14),
}


@pytest.fixture(scope="module")
def reference() -> ReferenceEngine:
    return ReferenceEngine(Settings())


@cache
def other(kind: type[Any]) -> Any:
    """The engines under test, kept with their loaded networks."""
    return kind(Settings())


def one(engine: Any, name: str, pixels: Pixels) -> Pixels:
    return engine.load(get(name)).upscale([pixels], True)[0]


@pytest.mark.parametrize(("channels", "bits"), [(3, 8), (1, 8), (3, 16)])
@pytest.mark.parametrize("kind", [TorchEngine, NcnnEngine])
@pytest.mark.parametrize("name", SIZES)  # outermost: each network is loaded once
def test_parity(
    reference: ReferenceEngine, kind: type[Any], name: str, channels: int, bits: int
) -> None:
    """At most one level at 8 bits, mean below a thousandth; a few of 65,535 levels at
    16 bits.

    The last bit is the processor's: with AVX-512 the official code's own sums differ
    from those with AVX2.
    """
    pixels = photo_like(*SIZES[name], channels, bits)
    off = difference(one(other(kind), name, pixels), one(reference, name, pixels))
    print(
        f"{kind.name} {name} {channels} channels {bits} bits: max {off.max():.0f}, mean {off.mean():.6f} levels"
    )
    assert off.max() <= (1 if bits == 8 else 3)
    assert off.mean() < (0.001 if bits == 8 else 0.1)


@pytest.mark.parametrize(
    ("scale", "size"), [(2, (21, 30)), (2, (16, 17)), (1, (18, 23))]
)
def test_parity_of_models_that_fold_pixels(
    tmp_path: Path, scale: int, size: tuple[int, int]
) -> None:
    """x2plus pads odd pictures: our border is the official one."""
    _, rrdb_of, _ = compat.realesrgan()
    torch.manual_seed(0)
    path = tmp_path / "folding.pth"
    torch.save(
        {
            "params_ema": rrdb_of(
                3, 3, scale=scale, num_feat=64, num_block=1
            ).state_dict()
        },
        path,
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    file = ModelFile(role="weights", sha256=digest, path=path.name)
    model = Model(
        name="folding",
        architecture="rrdb",
        title="",
        licence="",
        scale=scale,
        files=[file],
    )
    settings = Settings(models_dir=tmp_path)
    pixels = photo_like(*size)
    ours, theirs = (
        kind(settings).load(model).upscale([pixels], True)[0]
        for kind in (TorchEngine, ReferenceEngine)
    )
    assert difference(ours, theirs).max() <= 1


def test_it_is_the_official_call(reference: ReferenceEngine, tmp_path: Path) -> None:
    """Bit for bit what `RealESRGANer(half=False, tile=0, pre_pad=0).enhance` gives for
    the picture in BGR.
    """
    upsampler_of, _, srvgg_of = compat.realesrgan()
    torch.save(
        {"params": weights.load(get("realesr-animevideov3"), Settings())},
        tmp_path / "official.pth",
    )
    official = upsampler_of(
        4,
        str(tmp_path / "official.pth"),
        model=srvgg_of(3, 3, 64, 16, 4, "prelu"),
        tile=0,
        pre_pad=0,
        half=False,
    )
    pixels = photo_like(33, 40)
    expected = official.enhance(np.ascontiguousarray(pixels[:, :, ::-1]))[0][:, :, ::-1]
    assert np.array_equal(one(reference, "realesr-animevideov3", pixels), expected)


def test_mixed_weights_are_those_of_the_official_dn(tmp_path: Path) -> None:
    """Bit for bit what its `dni_weight` gives; stand-ins have the place of the two
    official files, and the torch engine agrees to one level.
    """
    upsampler_of, _, srvgg_of = compat.realesrgan()
    torch.manual_seed(5)
    twins = []
    for name in ("strong", "weak"):
        path = tmp_path / f"{name}.pth"
        state = srvgg_of(3, 3, 64, 2, 4, "prelu").state_dict()
        torch.save({"params": state}, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        file = ModelFile(role="weights", sha256=digest, path=path.name)
        twins.append(get("realesr-general-x4v3").model_copy(update={"files": [file]}))
    official = upsampler_of(
        4,
        [str(tmp_path / "strong.pth"), str(tmp_path / "weak.pth")],
        dni_weight=[0.3, 1 - 0.3],
        model=srvgg_of(3, 3, 64, 2, 4, "prelu"),
        tile=0,
        pre_pad=0,
        half=False,
    )
    pixels = photo_like(33, 40)
    expected = official.enhance(np.ascontiguousarray(pixels[:, :, ::-1]))[0][:, :, ::-1]
    settings = Settings(models_dir=tmp_path)
    theirs, ours = (
        kind(settings).load_mixed(*twins, 0.3).upscale([pixels], True)[0]
        for kind in (ReferenceEngine, TorchEngine)
    )
    assert np.array_equal(theirs, expected)
    assert difference(ours, expected).max() <= 1


def test_it_prints_nothing(
    reference: ReferenceEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    """stdout belongs to `--json`; the official code announces 16-bit pictures there."""
    one(reference, "realesr-animevideov3", photo_like(8, 8, bits=16))
    assert capfd.readouterr().out == ""


def test_a_dark_16_bit_picture_is_refused(reference: ReferenceEngine) -> None:
    """The official code would read it as 8 bits and give back a bright picture."""
    with pytest.raises(PermanentError, match="DARKROOM_ENGINE=torch") as caught:
        one(reference, "realesr-animevideov3", np.full((8, 8, 3), 200, np.uint16))
    assert caught.value.code == Code.UNSUPPORTED_MODE


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_nan_and_infinity_are_faults(poison: float) -> None:
    """The official code clamps infinity to white."""
    network = ReferenceEngine(Settings()).load(get("realesr-animevideov3"))
    with torch.no_grad():
        network._upsampler.model.body[-1].bias.fill_(poison)
    with pytest.raises(PermanentError) as caught:
        network.upscale([photo_like(8, 8)], True)
    assert caught.value.code == Code.INVALID_OUTPUT


def test_other_architectures_are_refused_with_the_way_out(
    reference: ReferenceEngine,
) -> None:
    """The official code runs its own two networks."""
    file = ModelFile(role="weights", sha256="0" * 64, bytes=1, path="x.pth")
    model = Model(
        name="toy", architecture="ddcolor", title="", licence="", files=[file]
    )
    with pytest.raises(NotFound, match="DARKROOM_ENGINE=torch"):
        reference.load(model)
