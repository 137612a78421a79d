"""A photo is upright, whole and alone: orientation, pages, animations, extreme sizes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from gpu_worker.codec import Limits, decode
from shared.errors import Code, PermanentError
from tests.support.codec_samples import HEIC, LIMITS, noise, quarters, saved

RGB = noise((13, 17, 3))


def _turned(orientation: int, kind: str) -> bytes:
    """The quarters, stored so that `orientation` makes them upright again."""
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    image = Image.fromarray(quarters())
    if undo is not None:
        image = image.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    best: dict[str, Any] = {
        "WEBP": {"lossless": True},
        "JPEG": {"subsampling": 0, "quality": 95},
    }
    return saved(image, kind, exif=exif, **best.get(kind, {}))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_eight_orientations_one_picture(kind: str) -> None:
    """The eight EXIF orientations of one picture give eight identical photos."""
    photos = [decode(_turned(orientation, kind), LIMITS) for orientation in range(1, 9)]
    assert all((photo.pixels == quarters()).all() for photo in photos)


@pytest.mark.parametrize("kind", ["JPEG", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_lossy_formats(kind: str, orientation: int) -> None:
    """JPEG and AVIF turn upright too, within what compression does to colours."""
    pixels = decode(_turned(orientation, kind), LIMITS).pixels
    assert pixels.shape == (16, 24, 3)
    assert np.abs(pixels[4::8, 6::12].astype(int) - quarters()[4::8, 6::12]).max() < 24


def test_heic_is_read_and_upright() -> None:
    """A phone's HEIC is decoded and turned once, not twice."""
    photo = decode(HEIC, LIMITS)
    assert photo.pixels.shape == (24, 16, 3)
    assert np.abs(photo.pixels[2, 2].astype(int) - (0, 0, 255)).max() < 24
    assert np.abs(photo.pixels[2, -3].astype(int) - (255, 0, 0)).max() < 24


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("GIF", {}), ("WEBP", {"lossless": True}), ("AVIF", {})],
)
def test_animations_are_refused(kind: str, options: dict[str, Any]) -> None:
    """An animation ends as `animated`; one frame of the same kind of file is a photo."""
    frames = [Image.fromarray(noise((8, 8, 3), seed=seed)) for seed in range(3)]
    with pytest.raises(PermanentError, match="single frame") as caught:
        decode(
            saved(frames[0], kind, save_all=True, append_images=frames[1:], **options),
            LIMITS,
        )
    assert caught.value.code == Code.ANIMATED
    assert decode(saved(frames[0], kind, **options), LIMITS).width == 8


def test_first_page_with_a_note() -> None:
    """Of a TIFF with pages the first is restored, and the record says that there were
    more.
    """
    pages = [Image.fromarray(noise((8, 8, 3), seed=seed)) for seed in range(2)]
    photo = decode(
        saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]), LIMITS
    )
    assert (photo.pixels == np.asarray(pages[0])).all()
    assert any("has 2 pages; only page 1 was" in note for note in photo.notes)
    assert decode(saved(pages[0], "TIFF"), LIMITS).notes == ()


def test_any_page_as_it_is_alone() -> None:
    """Each with its own depth, resolution and place for its pixels; one that is not
    there is refused with the number of those that are.
    """
    pages = [noise((8, 9, 3)), noise((5, 4), np.uint16), noise((6, 7, 3), np.uint16)]
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as out:
        for number, page in enumerate(pages, 1):
            dpi = (100 * number, 100 * number)
            out.write(page, contiguous=False, resolution=dpi, resolutionunit="INCH")
    data = file.getvalue()
    for number, page in enumerate(pages, 1):
        photo = decode(data, LIMITS, number)
        assert (photo.pixels.squeeze() == page).all()
        assert photo.meta.dpi == (100 * number, 100 * number)
        assert f"only page {number} was" in " ".join(photo.notes)
    with pytest.raises(PermanentError, match=r"page 4 .* has 3 ") as caught:
        decode(data, LIMITS, 4)
    assert caught.value.code == Code.PAGE_OUT_OF_RANGE


def test_only_a_tiff_has_a_second_page() -> None:
    with pytest.raises(PermanentError) as caught:
        decode(saved(RGB, "PNG"), LIMITS, 2)
    assert caught.value.code == Code.PAGE_OUT_OF_RANGE


def test_a_camera_raw_is_not_mistaken_for_its_preview() -> None:
    """A TIFF whose first page is a reduced preview is refused instead of restoring the
    thumbnail.
    """
    with pytest.raises(PermanentError) as caught:
        decode(saved(RGB, "TIFF", tiffinfo={254: 1}), LIMITS)
    assert caught.value.code == Code.UNSUPPORTED_MODE


def test_multi_picture_jpeg_is_its_main_picture() -> None:
    """A phone's JPEG with further pictures inside (MPO) gives the main one, with a
    note.
    """
    main, other = Image.fromarray(quarters()), Image.fromarray(noise((8, 8, 3)))
    photo = decode(saved(main, "MPO", save_all=True, append_images=[other]), LIMITS)
    assert photo.pixels.shape == (16, 24, 3)
    assert any("several pictures" in note for note in photo.notes)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 10_000, 3), (10_000, 3, 3)])
def test_extreme_shapes(shape: tuple[int, ...]) -> None:
    """One pixel and a thread of pixels are photos."""
    picture = noise(shape)
    assert (decode(saved(picture, "PNG"), LIMITS).pixels == picture).all()


def test_size_is_checked_before_a_pixel_is_decoded() -> None:
    """Too many pixels by the header: refused with both numbers, although the file holds
    hardly any data.
    """
    with pytest.raises(PermanentError, match=r"17 x 13 pixels .* 220") as caught:
        decode(saved(RGB, "PNG"), Limits(max_pixels=220))
    assert caught.value.code == Code.TOO_MANY_PIXELS
    assert decode(saved(RGB, "PNG"), Limits(max_pixels=221)).width == 17
