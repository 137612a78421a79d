"""Camera raw: developed the same way each time, apart from the worker, and refused with
the way out where LibRaw is not there.
"""

# ruff: noqa: E402 - nothing of LibRaw may be imported before `needs`

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest

from tests.support.extras import needs

needs("rawpy", "raw")

from gpu_worker import codec
from gpu_worker.codec import camera_raw
from gpu_worker.codec.decode import Limits, decode
from handlers.intake.probe import probe
from shared.errors import Code, PermanentError
from shared.runtime.settings import Settings
from tests.support import raw_samples

DATA = raw_samples.dng()
FILES = {
    "PEF": raw_samples.pef(),
    "NEF": raw_samples.below_preview("NIKON CORPORATION", "NIKON D850"),
    "ARW": raw_samples.below_preview("SONY", "ILCE-7M3"),
    "SRW": raw_samples.below_preview("SAMSUNG", "NX500"),
    "CR2": raw_samples.cr2(),
}


def test_colours_are_those_that_the_sensor_saw() -> None:
    photo = decode(DATA, Limits())
    assert photo.pixels.shape == (64, 96, 3)
    assert photo.pixels.dtype == np.uint16
    left, right = photo.pixels[32, 20].astype(int), photo.pixels[32, 80].astype(int)
    assert right[0] > left[0] + 10_000
    assert abs(right[2] - left[2]) < 3_000
    assert "LibRaw" in photo.notes[0]
    assert "as the camera saw it, demosaicing AHD" in photo.notes[0]
    assert any("A lake, raw" in each.items[0].text for each in photo.meta.captions)


@pytest.mark.parametrize("name", FILES)
def test_each_maker_has_its_own_layout(name: str) -> None:
    """The sensor's picture is restored, never the preview that most files begin with."""
    data = FILES[name]
    header = probe(iter([data]), Settings(), 1.0).header
    assert (header.format, header.width, header.height) == ("RAW", 96, 64)
    photo = decode(data, Limits())
    assert photo.pixels.shape == (64, 96, 3)
    left, right = photo.pixels[32, 20].astype(int), photo.pixels[32, 80].astype(int)
    assert right[0] > left[0] + 10_000
    assert abs(right[2] - left[2]) < 3_000
    assert "white balance for daylight" in photo.notes[0]


def test_the_confined_process_develops_the_same_picture() -> None:
    decoder = codec.Decoder(Settings())
    try:
        photo = decoder.decode(DATA, 96 * 64)
    finally:
        decoder.close()
    assert np.array_equal(photo.pixels, decode(DATA, Limits()).pixels)


def test_its_size_is_read_from_the_header() -> None:
    header = probe(iter([DATA]), Settings(), 1.0).header
    assert (header.format, header.width, header.height) == ("DNG", 96, 64)


def test_damage_costs_the_photo_and_never_the_worker() -> None:
    """Wrong bytes in its tags, or an end too early: pixels or a sentence."""
    decoder = codec.Decoder(Settings())
    try:
        for seed, whole in enumerate([DATA] * 8 + [*FILES.values()] * 2):
            random = np.random.default_rng(seed)
            spoilt = np.frombuffer(whole, np.uint8).copy()
            spoilt[random.integers(8, 600, 12)] = random.integers(0, 256, 12)
            cut = spoilt[: random.integers(700, len(whole))].tobytes()
            for data in (spoilt.tobytes(), cut):
                with suppress(PermanentError):
                    assert decoder.decode(data, 96 * 64).pixels.ndim == 3
        assert decoder.decode(DATA, 96 * 64).pixels.shape == (64, 96, 3)
    finally:
        decoder.close()


def test_too_many_pixels_are_refused_before_they_are_unpacked() -> None:
    with pytest.raises(PermanentError) as refused:
        decode(DATA, Limits(max_pixels=96 * 64 - 1))
    assert refused.value.code == Code.TOO_MANY_PIXELS


def test_without_libraw_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_raw, "rawpy", None)
    with pytest.raises(PermanentError, match=r"\[raw\]") as refused:
        decode(DATA, Limits())
    assert refused.value.code == Code.UNSUPPORTED_MODE
