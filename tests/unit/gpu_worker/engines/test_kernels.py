"""Our own convolutions, against the definition, for each instruction set that this
machine's CPU has.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_worker.engines.kernels import (
    Filters,
    Floats,
    Kernels,
    Spent,
    Step,
    available,
    best,
    run,
    together,
)
from tests.support.extras import needs_kernels

CPUINFO = Path("/proc/cpuinfo")
NEEDED = {"avx512": {"avx512f", "fma"}, "avx2": {"avx2", "fma"}}
"""The flags of an x86-64 CPU that can run these kernels, the fastest first."""

each = pytest.mark.parametrize(
    "kernels", available(), ids=[kernels.name for kernels in available()]
)


@pytest.fixture(autouse=True)
def compiled() -> None:
    needs_kernels()


def noise(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.normal(size=shape).astype(np.float32)


def padded(picture: Floats, kernels: Kernels) -> Floats:
    """With channels of zeros up to a whole vector."""
    missing = -picture.shape[2] % kernels.lane
    return np.pad(picture, ((0, 0), (0, 0), (0, missing)))


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


def test_kernels_whose_instructions_the_cpu_lacks_are_not_there() -> None:
    """All others are, the fastest first."""
    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    flags = {
        flag
        for line in lines
        if line.startswith("flags")
        for flag in line.split(":")[1].split()
    }
    expected = [name for name, needed in NEEDED.items() if needed <= flags]
    assert [kernels.name for kernels in available()] == (expected or ["neon"])
    assert best() == available()[0]


@each
@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    inputs=st.sampled_from([1, 3, 16, 64, 67, 96]),
    outputs=st.sampled_from([3, 16, 48, 64]),
    threads=st.integers(1, 5),
)
def test_a_convolution_is_the_sum_over_its_neighbours(
    kernels: Kernels, height: int, width: int, inputs: int, outputs: int, threads: int
) -> None:
    """At every size, with every number of threads; one slope per output for negative
    sums. Channels and outputs that fill no vector are padded.
    """
    rng = np.random.default_rng(height * 100 + width)
    source = noise(rng, height, width, inputs)
    weights = noise(rng, outputs, inputs, 3, 3)
    bias, slope = noise(rng, outputs), noise(rng, outputs)
    filters = Filters.of(kernels, weights, bias, slope)
    target = np.empty((height, width, filters.outputs), np.float32)
    run([Step(filters, [padded(source, kernels)], target)], threads)
    assert_close(target[:, :, :outputs], convolved(source, weights, bias, slope))
    assert not target[:, :, outputs:].any()


@settings(deadline=None, max_examples=15)
@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from([3, 64, 192]),
    st.sampled_from([3, 32, 64]),
)
def test_every_instruction_set_gives_the_same_bits(
    height: int, width: int, inputs: int, outputs: int
) -> None:
    """A photo's pixels do not depend on the machine that restores it."""
    rng = np.random.default_rng(height * 100 + width)
    source, weights = (
        noise(rng, height, width, inputs),
        noise(rng, outputs, inputs, 3, 3),
    )
    bias, slope = noise(rng, outputs), noise(rng, outputs)
    residual = noise(rng, height, width, outputs)
    results = []
    for kernels in available():
        filters = Filters.of(kernels, weights, bias, slope)
        target = np.empty((height, width, filters.outputs), np.float32)
        residuals = [(0.2, padded(residual, kernels)), (0.7, target)]
        target[:] = padded(residual, kernels)
        step = Step(filters, [padded(source, kernels)], target, residuals=residuals)
        run([step], 2)
        results.append(target[:, :, :outputs])
    first, *others = results
    for other in others:
        assert np.array_equal(first, other)


@each
def test_sources_and_target_are_slices_of_channels(kernels: Kernels) -> None:
    """What a dense block concatenates just lies side by side; the other channels stay
    untouched.
    """
    rng = np.random.default_rng(1)
    shared, other = noise(rng, 23, 31, 64), noise(rng, 23, 31, 16)
    before = shared.copy()
    weights, bias = noise(rng, 32, 32, 3, 3), noise(rng, 32)
    filters = Filters.of(kernels, weights, bias, 0.2)
    run([Step(filters, [other, shared[:, :, :16]], shared[:, :, 32:])], 2)
    source = np.concatenate([other, before[:, :, :16]], 2)
    assert_close(shared[:, :, 32:], convolved(source, weights, bias, 0.2))
    assert np.array_equal(shared[:, :, :32], before[:, :, :32])


@each
def test_residuals_are_added_to_what_was_computed_so_far(kernels: Kernels) -> None:
    """(sum · 0.2 + first) · 0.5 + second; the target may be the second."""
    rng = np.random.default_rng(3)
    source, first, second = (
        noise(rng, 20, 13, 16),
        noise(rng, 20, 13, 16),
        noise(rng, 20, 13, 16),
    )
    weights, bias = noise(rng, 16, 16, 3, 3), noise(rng, 16)
    expected = (convolved(source, weights, bias, 1.0) * 0.2 + first) * 0.5 + second
    filters = Filters.of(kernels, weights, bias)
    residuals = [(0.2, first), (0.5, second)]
    run([Step(filters, [source], second, residuals=residuals)], 2)
    assert_close(second, expected)


@each
@pytest.mark.parametrize("size", [(7, 11), (1, 1), (16, 30)])
def test_a_source_is_enlarged_on_the_way(
    kernels: Kernels, size: tuple[int, int]
) -> None:
    """Each pixel twice in both directions, then the convolution."""
    rng = np.random.default_rng(4)
    source, weights, bias = (
        noise(rng, *size, 16),
        noise(rng, 16, 16, 3, 3),
        noise(rng, 16),
    )
    target = np.empty((2 * size[0], 2 * size[1], 16), np.float32)
    filters = Filters.of(kernels, weights, bias, 0.2)
    run([Step(filters, [source], target, shift=1)], 2)
    enlarged = source.repeat(2, 0).repeat(2, 1)
    assert_close(target, convolved(enlarged, weights, bias, 0.2))


@each
def test_steps_see_what_earlier_steps_wrote(kernels: Kernels) -> None:
    """Every thread waits for all others between two convolutions; the number of threads
    changes no bit.
    """
    rng = np.random.default_rng(5)
    pictures = [
        noise(rng, 90, 70, 16),
        *(np.empty((90, 70, 16), np.float32) for _ in range(6)),
    ]
    steps = []
    for source, target in pairwise(pictures):
        weights = noise(rng, 16, 16, 3, 3) * np.float32(0.1)
        filters = Filters.of(kernels, weights, noise(rng, 16), 0.2)
        steps.append(Step(filters, [source], target))
    run(steps, 1)
    alone = pictures[-1].copy()
    for _ in range(5):
        pictures[-1].fill(0)
        run(steps, 4)
        assert np.array_equal(pictures[-1], alone)


@each
def test_a_nan_is_not_lost(kernels: Kernels) -> None:
    """It must reach the check at the end, through slopes and residuals."""
    rng = np.random.default_rng(6)
    source, weights, bias = (
        noise(rng, 12, 12, 16),
        noise(rng, 16, 16, 3, 3),
        noise(rng, 16),
    )
    source[5, 5, 0] = np.nan
    target = np.empty((12, 12, 16), np.float32)
    filters = Filters.of(kernels, weights, bias, 0.0)
    run([Step(filters, [source], target, residuals=[(1.0, np.zeros_like(target))])], 1)
    assert np.isnan(target[5, 5]).all()


@each
def test_the_time_of_each_stage_is_added_up(kernels: Kernels) -> None:
    """Over calls, so that a bench can say where it went."""
    rng = np.random.default_rng(7)
    source, target = noise(rng, 30, 30, 16), np.empty((30, 30, 16), np.float32)
    filters = Filters.of(kernels, noise(rng, 16, 16, 3, 3), noise(rng, 16))
    spent = Spent()
    run([Step(filters, [source], target)], 2, spent)
    once = spent.multiply
    run([Step(filters, [source], target)], 2, spent)
    assert spent.multiply > once > 0
    assert spent.read > 0
    assert spent.write > 0
    assert spent.wait >= 0


@each
def test_filters_together_are_the_same_filters(kernels: Kernels) -> None:
    """Their weights lie in one array, each from the start of a line of the cache on."""
    rng = np.random.default_rng(8)
    apart = [
        Filters.of(kernels, noise(rng, outputs, 3, 3, 3), noise(rng, outputs))
        for outputs in (3, 64)
    ]
    moved = together(apart)
    for before, after in zip(apart, moved, strict=True):
        assert np.array_equal(before.weights, after.weights)
        assert after.weights.base is moved[0].weights.base
        assert after.weights.ctypes.data % 64 == 0
