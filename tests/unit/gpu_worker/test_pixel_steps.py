"""What happens to pixels around a network: quantisation, reduction, the last touch, hidden
colours.
"""

from __future__ import annotations

import hashlib
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gpu_worker import steps, tile_runner
from gpu_worker.engines import quantise
from gpu_worker.engines.quantise import to_pixels
from gpu_worker.photo import Metadata, Photo
from gpu_worker.pixels import resample, row_chunks
from gpu_worker.pixels.bleed import bleed
from shared import models
from shared.errors import Code, PermanentError
from shared.runtime.settings import Settings
from shared.workflows import ResolvedStep

RNG = np.random.default_rng(7)


def photo(
    height: int = 40, width: int = 50, channels: int = 3, dtype: type = np.uint8
) -> Photo:
    pixels: NDArray[np.uint8] = RNG.integers(
        0, np.iinfo(dtype).max + 1, (height, width, channels), dtype
    )
    return Photo(pixels)


def finished(
    source: Photo,
    sharpen: float = 0.0,
    saturation: float = 1.0,
    contrast: float = 1.0,
    smooth: float = 0.0,
) -> Photo:
    params = {
        "sharpen": sharpen,
        "saturation": saturation,
        "contrast": contrast,
        "smooth": smooth,
    }
    step = ResolvedStep("finish", None, params)
    tools = steps.Tools(Settings(), lambda done: None)
    return steps.run(source, step, None, tools).photo  # type: ignore[arg-type]


@pytest.fixture
def small_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_chunks, "BAND_BYTES", 3000)
    monkeypatch.setattr(quantise, "BAND_BYTES", 3000)


def test_smoothing_takes_noise_and_leaves_edges() -> None:
    """Half of the noise of a grain that is hardly seen goes; an edge moves by less than
    the noise did.
    """
    clean = np.full((60, 60, 3), 60, np.uint8)
    clean[:, 30:] = 190
    noise = RNG.normal(0, 3, clean.shape)
    noisy = Photo(np.rint(clean + noise).astype(np.uint8))
    smooth = finished(noisy, smooth=1.0).pixels.astype(float)
    left = smooth[:, 4:26] - clean[:, 4:26]
    assert left.std() < 0.6 * noise.std()
    assert np.abs((smooth - clean)[:, 28:32]).mean() < 4


@pytest.mark.usefixtures("small_bands")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_quantisation_is_that_of_the_official_code(dtype: type) -> None:
    """Clamp to 0..1, times the top value, round half to even."""
    top = np.float32(np.iinfo(dtype).max)
    planes = RNG.uniform(-0.2, 1.2, (3, 33, 41)).astype(np.float32)
    ties = np.array([0.5, 1.5, 2.5, 3.5], np.float32)
    planes[0, 0, :4] = ties / top
    levels = (np.clip(planes, 0, 1) * top).round().astype(dtype)
    pixels = to_pixels(planes, 3, np.dtype(dtype))
    assert np.array_equal(pixels, levels.transpose(1, 2, 0))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_a_number_is_never_a_pixel(bad: float) -> None:
    """A black picture must not be stored as a success."""
    planes = np.zeros((3, 8, 8), np.float32)
    planes[1, 7, 7] = bad
    with pytest.raises(PermanentError) as caught:
        to_pixels(planes, 3, np.dtype(np.uint8))
    assert caught.value.code == Code.INVALID_OUTPUT


@pytest.mark.usefixtures("small_bands")
@pytest.mark.parametrize("size", [(31, 22), (50, 11), (7, 40), (1, 1)])
def test_reduction_in_bands_is_the_reduction_of_the_whole(
    size: tuple[int, int],
) -> None:
    """Pillow's Lanczos over the whole plane, to the level."""
    pixels = photo(44, 53).pixels
    found = resample.reduce(pixels, size, Settings())
    for channel in range(3):
        plane = Image.fromarray(pixels[:, :, channel].astype(np.float32)).resize(
            size, Image.Resampling.LANCZOS
        )
        expected = np.rint(np.clip(np.asarray(plane), 0, 255))
        assert np.abs(found[:, :, channel] - expected).max() <= 1


def test_nothing_is_reduced_to_its_own_size() -> None:
    """The very same array."""
    pixels = photo().pixels
    assert resample.reduce(pixels, (50, 40), Settings()) is pixels


def test_an_enlarged_photo_is_as_large_in_print(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its resolution grows with its pixels."""

    def doubled(pixels: NDArray[np.uint8], *_: object) -> tuple[NDArray[np.uint8], Any]:
        return pixels.repeat(2, 0).repeat(2, 1), {}

    monkeypatch.setattr(tile_runner, "upscale", doubled)
    model = models.get("realesr-animevideov3")
    step = ResolvedStep("upscale", model, {"scale": 2.0})
    tools = steps.Tools(Settings(), lambda done: None)
    source = photo().with_(meta=Metadata(dpi=(300.0, 150.0)))
    enlarged = steps.run(source, step, Mock(), tools).photo
    assert (enlarged.width, enlarged.meta.dpi) == (100, (600.0, 300.0))


@pytest.mark.usefixtures("small_bands")
@pytest.mark.parametrize(("strength", "level"), [(1.0, 200), (0.5, 150), (0.0, 100)])
def test_an_enlargement_is_mixed_with_a_plain_one(
    monkeypatch: pytest.MonkeyPatch, strength: float, level: int
) -> None:
    """A grey of 100 of which the network makes 200."""

    def brighter(pixels: Any, *_: Any) -> tuple[Any, dict[str, Any]]:
        large = np.full((2 * len(pixels), 2 * pixels.shape[1], 3), 200, np.uint8)
        return large, {}

    monkeypatch.setattr(tile_runner, "upscale", brighter)
    model = models.get("realesr-animevideov3")
    step = ResolvedStep("upscale", model, {"scale": 2.0, "strength": strength})
    tools = steps.Tools(Settings(), lambda done: None)
    source = Photo(np.full((40, 50, 3), 100, np.uint8))
    result = steps.run(source, step, Mock(), tools)
    assert (result.photo.pixels == level).all()
    assert result.detail.get("strength") == (strength if strength < 1 else None)


def test_a_mild_tuning_is_weak_and_needs_no_figures() -> None:
    source = photo()
    off = {"sharpen": 0.0, "saturation": 1.0, "contrast": 1.0}
    step = ResolvedStep("finish", None, off | {"tuning": "mild"})
    tools = steps.Tools(Settings(), lambda done: None)
    mild = steps.run(source, step, Mock(), tools)
    assert (mild.photo.pixels != source.pixels).any()
    named = finished(source, **mild.detail)
    assert np.array_equal(mild.photo.pixels, named.pixels)


def grained(grey: int, seed: int, grain: float = 1.0) -> NDArray[Any]:
    params = {"sharpen": 0.0, "saturation": 1.0, "contrast": 1.0, "grain": grain}
    tools = steps.Tools(Settings(), lambda done: None, seed=seed)
    source = Photo(np.full((200, 300, 3), grey, np.uint8))
    step = ResolvedStep("finish", None, params)
    return steps.run(source, step, Mock(), tools).photo.pixels


def test_grain_is_the_same_for_the_same_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the photo is cut; as strong as is asked for, and grey."""
    whole = grained(128, seed=5)
    monkeypatch.setattr(row_chunks, "BAND_BYTES", 3000)
    assert np.array_equal(grained(128, seed=5), whole)
    assert not np.array_equal(grained(128, seed=6), whole)
    assert whole.std() == pytest.approx(0.08 * 255, rel=0.03)
    assert whole.mean() == pytest.approx(128, abs=0.3)
    assert (whole[..., 0] == whole[..., 2]).all()
    assert hashlib.sha256(whole.tobytes()).hexdigest()[:16] == "5f76c16656d809c0"


def test_black_and_white_have_no_grain() -> None:
    assert (grained(0, seed=5) == 0).all()
    assert (grained(255, seed=5) == 255).all()
    assert (grained(128, seed=5, grain=0.0) == 128).all()


@pytest.mark.parametrize(
    ("asked", "worker", "expected"), [(0, 0, 0), (100, 0, 100), (4096, 512, 512)]
)
def test_tiles_are_those_that_the_photo_asks_for(
    monkeypatch: pytest.MonkeyPatch, asked: int, worker: int, expected: int
) -> None:
    """As far as the worker's own setting and its memory allow it."""
    used = []

    def noted(pixels: Any, *given: Any) -> tuple[Any, dict[str, Any]]:
        used.append(given[2].tile_px)
        return pixels.repeat(2, 0).repeat(2, 1), {}

    monkeypatch.setattr(tile_runner, "upscale", noted)
    model = models.get("realesr-animevideov3")
    step = ResolvedStep("upscale", model, {"scale": 2.0, "tile_px": asked})
    engine = Mock()
    engine.free_bytes.return_value = 1 << 34
    engine.load.return_value = Mock(model=model, bytes_per_px=1000)
    steps.run(
        photo(), step, engine, steps.Tools(Settings(tile_px=worker), lambda done: None)
    )
    assert used == [expected]


def test_finish_is_off_by_default() -> None:
    """The default is the raw output of the model, byte for byte."""
    source = photo()
    assert finished(source).pixels is source.pixels


@pytest.mark.usefixtures("small_bands")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_finish_in_bands_is_the_finish_of_the_whole(
    channels: int, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No seam between bands."""
    source = photo(channels=channels, dtype=dtype)
    banded = finished(source, 0.7, 1.4, 1.2).pixels
    monkeypatch.setattr(row_chunks, "BAND_BYTES", 10**9)
    assert np.array_equal(banded, finished(source, 0.7, 1.4, 1.2).pixels)
    assert banded.dtype == dtype


def test_sharpening_raises_local_contrast_and_keeps_flat_areas() -> None:
    """An unsharp mask does nothing where there is nothing to sharpen."""
    pixels = np.full((20, 20, 3), 100, np.uint8)
    pixels[:, 10:] = 140
    sharp = finished(Photo(pixels), sharpen=1.0).pixels
    assert np.array_equal(sharp[:, :6], pixels[:, :6])
    assert sharp[5, 9, 0] < 100
    assert sharp[5, 10, 0] > 140


def test_no_saturation_is_grey_and_no_contrast_is_flat() -> None:
    """The ends of both ranges."""
    grey = finished(photo(), saturation=0.0).pixels.astype(int)
    assert np.ptp(grey, axis=2).max() == 0
    assert np.unique(finished(photo(), contrast=0.0).pixels).tolist() == [128]


@pytest.mark.usefixtures("small_bands")
def test_hidden_colours_come_from_their_neighbours() -> None:
    """Only pixels of alpha 0 change; what they get lies among the visible colours."""
    pixels = np.zeros((33, 47, 3), np.uint8)
    alpha = np.zeros((33, 47), np.uint8)
    brown = np.array([200.0, 100.0, 50.0])
    pixels[10:20, 12:30] = brown
    alpha[10:20, 12:30] = 255
    pixels[15, 15] = 9
    alpha[15, 15] = 1
    filled = bleed(pixels, alpha)
    visible = alpha > 0
    assert np.array_equal(filled[visible], pixels[visible])
    difference = np.abs(filled[5:9, 12:30] - brown)
    assert difference.max() <= 1
    assert (pixels[0, 0] == 0).all()


@pytest.mark.parametrize("value", [0, 255])
def test_nothing_bleeds_without_both_kinds_of_pixels(value: int) -> None:
    """All visible or all hidden: the picture is left alone."""
    pixels = photo().pixels
    assert bleed(pixels, np.full((40, 50), value, np.uint8)) is pixels
