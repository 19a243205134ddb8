"""Normal noise: its moments, its distribution, and that no number tells anything of another."""

from __future__ import annotations

import math

import numpy as np
import pytest

from onnxplain.methods.noise import standard_normal

COUNT = 1 << 20


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return standard_normal(np.random.SFC64([3, 5]), (COUNT,)).astype(np.float64)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (0, 3), (3, 5, 7)])
def test_shape_and_type(shape: tuple[int, ...]) -> None:
    found = standard_normal(np.random.SFC64(0), shape)
    assert found.shape == shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_a_seed_repeats_itself_and_no_other() -> None:
    a, b, c = (standard_normal(np.random.SFC64(seed), (50,)) for seed in ([1, 2], [1, 2], [1, 3]))
    np.testing.assert_array_equal(a, b)
    assert not (a == c).any()


def test_one_generator_goes_on() -> None:
    generator = np.random.SFC64(0)
    assert not (standard_normal(generator, (50,)) == standard_normal(generator, (50,))).any()


@pytest.mark.parametrize(("power", "moment", "variance"), [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)])
def test_moments(noise: np.ndarray, power: int, moment: float, variance: float) -> None:
    """Each within four standard errors."""
    assert abs((noise**power).mean() - moment) < 4 * math.sqrt(variance / COUNT)


def test_distribution(noise: np.ndarray) -> None:
    """Kolmogorov and Smirnov: the largest distance from the normal distribution; 2 is exceeded once in 1,500 times."""
    expected = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in np.sort(noise)[::64]])
    assert np.abs(expected - np.arange(0, COUNT, 64) / COUNT).max() * math.sqrt(COUNT) < 2


@pytest.mark.parametrize("shift", [1, 2, 3, COUNT // 2, COUNT // 2 + 1])
def test_no_number_tells_of_another(noise: np.ndarray, shift: int) -> None:
    """Neither values nor magnitudes of numbers ``shift`` apart go together; pairs are half the array apart."""
    for values in (noise, np.abs(noise) - math.sqrt(2 / math.pi), noise**2 - 1):
        correlation = (values * np.roll(values, shift)).mean() / values.var()
        assert abs(correlation) < 4.5 / math.sqrt(COUNT / 2)


def test_bounds_of_the_tails(noise: np.ndarray) -> None:
    """As many beyond 4 standard deviations as expected, 66 +- 8, and none beyond what 32 bits can give."""
    assert 30 < (np.abs(noise) > 4).sum() < 110
    assert np.abs(noise).max() <= math.sqrt(2 * 33 * math.log(2))
