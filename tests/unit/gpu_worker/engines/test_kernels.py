"""Our own convolutions, against the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_worker.engines.kernels import Filters, Floats, Step, run
from tests.support.extras import needs_kernels


@pytest.fixture(autouse=True)
def compiled() -> None:
    needs_kernels()


def noise(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.normal(size=shape).astype(np.float32)


def convolved(
    source: Floats, weights: Floats, bias: Floats, slope: Floats | float
) -> np.ndarray:
    """3x3, zeros around, in double precision."""
    height, width, _ = source.shape
    around = np.pad(source.astype(np.float64), ((1, 1), (1, 1), (0, 0)))
    taps = [
        around[y : y + height, x : x + width] @ weights[:, :, y, x].T
        for y in range(3)
        for x in range(3)
    ]
    total = sum(taps) + bias
    return np.where(total > 0, total, total * slope)


def assert_close(found: Floats, expected: np.ndarray) -> None:
    """Winograd's transforms cost a few bits: less than a ten-thousandth of the largest
    value.
    """
    assert np.abs(found - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([8, 16, 64]),
    st.sampled_from([16, 48]),
    st.integers(1, 5),
)
def test_a_convolution_is_the_sum_over_its_neighbours(
    height: int, width: int, inputs: int, outputs: int, threads: int
) -> None:
    """At every size, with every number of threads; one slope per output for negative
    sums.
    """
    rng = np.random.default_rng(height * 100 + width)
    source, weights = (
        noise(rng, height, width, inputs),
        noise(rng, outputs, inputs, 3, 3),
    )
    bias, slope = noise(rng, outputs), noise(rng, outputs)
    target = np.empty((height, width, outputs), np.float32)
    run([Step(Filters.of(weights, bias, slope), [source], target)], threads)
    assert_close(target, convolved(source, weights, bias, slope))


def test_sources_and_target_are_slices_of_channels() -> None:
    """What a dense block concatenates just lies side by side; the other channels stay
    untouched.
    """
    rng = np.random.default_rng(1)
    shared, other = noise(rng, 23, 31, 64), noise(rng, 23, 31, 16)
    before = shared.copy()
    weights, bias = noise(rng, 32, 32, 3, 3), noise(rng, 32)
    run(
        [
            Step(
                Filters.of(weights, bias, 0.2),
                [other, shared[:, :, :16]],
                shared[:, :, 32:],
            )
        ],
        2,
    )
    expected = convolved(
        np.concatenate([other, before[:, :, :16]], 2), weights, bias, 0.2
    )
    assert_close(shared[:, :, 32:], expected)
    assert np.array_equal(shared[:, :, :32], before[:, :, :32])


def test_channels_that_fill_no_vector_are_padded_with_zeros() -> None:
    """Three inputs in eight, three outputs in sixteen."""
    rng = np.random.default_rng(2)
    source = np.zeros((9, 14, 8), np.float32)
    source[:, :, :3] = noise(rng, 9, 14, 3)
    weights, bias = noise(rng, 3, 3, 3, 3), noise(rng, 3)
    target = np.empty((9, 14, 16), np.float32)
    run([Step(Filters.of(weights, bias), [source], target)], 1)
    assert_close(target[:, :, :3], convolved(source[:, :, :3], weights, bias, 1.0))
    assert not target[:, :, 3:].any()


def test_residuals_are_added_to_what_was_computed_so_far() -> None:
    """(sum · 0.2 + first) · 0.5 + second; the target may be the second."""
    rng = np.random.default_rng(3)
    source, first, second = (
        noise(rng, 20, 13, 16),
        noise(rng, 20, 13, 16),
        noise(rng, 20, 13, 16),
    )
    weights, bias = noise(rng, 16, 16, 3, 3), noise(rng, 16)
    expected = (convolved(source, weights, bias, 1.0) * 0.2 + first) * 0.5 + second
    run(
        [
            Step(
                Filters.of(weights, bias),
                [source],
                second,
                residuals=[(0.2, first), (0.5, second)],
            )
        ],
        2,
    )
    assert_close(second, expected)


@pytest.mark.parametrize("size", [(7, 11), (1, 1), (16, 30)])
def test_a_source_is_enlarged_on_the_way(size: tuple[int, int]) -> None:
    """Each pixel twice in both directions, then the convolution."""
    rng = np.random.default_rng(4)
    source, weights, bias = (
        noise(rng, *size, 8),
        noise(rng, 16, 8, 3, 3),
        noise(rng, 16),
    )
    target = np.empty((2 * size[0], 2 * size[1], 16), np.float32)
    run([Step(Filters.of(weights, bias, 0.2), [source], target, shift=1)], 2)
    assert_close(
        target, convolved(source.repeat(2, 0).repeat(2, 1), weights, bias, 0.2)
    )


def test_steps_see_what_earlier_steps_wrote() -> None:
    """Every thread waits for all others between two convolutions; the number of threads
    changes no bit.
    """
    rng = np.random.default_rng(5)
    pictures = [
        noise(rng, 90, 70, 16),
        *(np.empty((90, 70, 16), np.float32) for _ in range(6)),
    ]
    filters = [
        Filters.of(noise(rng, 16, 16, 3, 3) * np.float32(0.1), noise(rng, 16), 0.2)
        for _ in range(6)
    ]
    steps = [Step(f, [pictures[i]], pictures[i + 1]) for i, f in enumerate(filters)]
    run(steps, 1)
    alone = pictures[-1].copy()
    for _ in range(5):
        pictures[-1].fill(0)
        run(steps, 4)
        assert np.array_equal(pictures[-1], alone)


def test_a_nan_is_not_lost() -> None:
    """It must reach the check at the end, through slopes and residuals."""
    rng = np.random.default_rng(6)
    source, weights, bias = (
        noise(rng, 12, 12, 8),
        noise(rng, 16, 8, 3, 3),
        noise(rng, 16),
    )
    source[5, 5, 0] = np.nan
    target = np.empty((12, 12, 16), np.float32)
    run(
        [
            Step(
                Filters.of(weights, bias, 0.0),
                [source],
                target,
                residuals=[(1.0, np.zeros_like(target))],
            )
        ],
        1,
    )
    assert np.isnan(target[5, 5]).all()
