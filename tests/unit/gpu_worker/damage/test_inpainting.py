"""What is filled in: nothing else changes, and it comes close to what was there."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_worker.damage import inpainting
from gpu_worker.damage.inpainting import SparseInpainter
from gpu_worker.photo import Pixels
from shared.runtime.settings import Settings
from tests.support.extras import needs
from tests.support.scratches import Mask, photo, psnr, scratched


def repaired(pixels: Pixels, mask: Mask) -> Pixels:
    return inpainting.repaired(pixels, mask, SparseInpainter(), Settings())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("name", ["cat", "photographer"])
def test_no_pixel_outside_the_mask_changes(name: str, dtype: type) -> None:
    rng = np.random.default_rng(0)
    pixels = photo(name).astype(dtype)
    mask = rng.random(pixels.shape[:2]) < 0.1
    filled = repaired(pixels, mask)
    assert filled.dtype == dtype
    assert np.array_equal(filled[~mask], pixels[~mask])
    assert not np.array_equal(filled[mask], pixels[mask])


@pytest.mark.parametrize("name", ["cat", "photographer"])
def test_it_is_nearer_to_the_truth_than_the_usual_methods(name: str) -> None:
    """Than Telea's and Navier-Stokes, of OpenCV."""
    needs("cv2", "test")
    import cv2

    clean = photo(name)
    damaged, mask = scratched(clean, seed=4)
    plain = np.squeeze(damaged)
    holes = mask.astype(np.uint8)
    usual = [
        cv2.inpaint(plain, holes, 3, method).reshape(clean.shape)
        for method in (cv2.INPAINT_TELEA, cv2.INPAINT_NS)
    ]
    best = max(psnr(other, clean, mask) for other in usual)
    assert psnr(repaired(damaged, mask), clean, mask) > best


def test_a_slope_goes_on_under_a_scratch() -> None:
    slope = np.arange(64, dtype=np.uint8).repeat(64).reshape(64, 64, 1) * 3
    mask = np.zeros((64, 64), bool)
    mask[:, 30:33] = True
    broken = np.where(mask[:, :, np.newaxis], np.uint8(255), slope)
    difference = repaired(broken, mask).astype(int) - slope
    assert np.abs(difference).max() <= 1


def test_windows_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line over many windows is filled as in one."""
    damaged, mask = scratched(photo("cat"), seed=4)
    whole = repaired(damaged, mask).astype(int)
    monkeypatch.setattr(inpainting, "CORE_PX", 70)
    assert np.abs(repaired(damaged, mask) - whole)[mask].mean() < 1


def test_the_same_comes_out_every_time() -> None:
    damaged, mask = scratched(photo("coffee"), seed=1)
    assert np.array_equal(repaired(damaged, mask), repaired(damaged, mask))


def test_a_photo_that_is_all_damage_stays() -> None:
    """There is nothing to take anything from."""
    pixels = photo("coffee")
    mask = np.ones(pixels.shape[:2], bool)
    assert np.array_equal(repaired(pixels, mask), pixels)


def test_a_hole_larger_than_a_window_is_filled_from_its_border(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Windows in which nothing is known wait for their neighbours."""
    monkeypatch.setattr(inpainting, "CORE_PX", 20)
    monkeypatch.setattr(inpainting, "HALO_PX", 4)
    pixels = np.full((100, 100, 1), 90, np.uint8)
    mask = np.zeros((100, 100), bool)
    mask[:, :95] = True
    pixels[mask] = 255
    assert (repaired(pixels, mask) == 90).all()
