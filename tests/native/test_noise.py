"""The kernel of normal noise: against its NumPy twin, and against what normal numbers are like."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxplain import InputError, native
from onnxplain import native_reference as numpy_twins

SETS = native.available_instruction_sets()
COUNT = 1 << 20

Floats = npt.NDArray[np.float32]


def noise_alone(shape: int | tuple[int, ...], key: int, **options: int) -> Floats:
    return native.add_noise(np.zeros(shape, np.float32), 1, key, **options)


@given(
    shape=st.lists(st.sampled_from((0, 1, 2, 3, 5, 17, 64, 65, 129)), max_size=3).map(tuple),
    key=st.integers(0, 2**64 - 1) | st.sampled_from((0, 2**32, 2**64 - 1)),
    deviation=st.floats(0, float(2**100), width=32),
    given_out=st.booleans(),
    threads=st.sampled_from((1, 3)),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=200, deadline=None)
def test_same_bits_as_the_twin_on_every_instruction_set(
    shape: tuple[int, ...], key: int, deviation: float, given_out: bool, threads: int, seed: int
) -> None:
    x = np.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))
    expected = numpy_twins.add_noise(x, deviation, key)
    for name in SETS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ONNXPLAIN_ISA", name)
            out = np.full(shape, np.nan, np.float32) if given_out else None
            found = native.add_noise(x, deviation, key, out=out, threads=threads)
        assert out is None or found is out
        assert found.dtype == np.float32 and found.shape == shape
        np.testing.assert_array_equal(found.view(np.int32), expected.view(np.int32))


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("isa", SETS)
def test_threads_change_nothing(threads: int, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXPLAIN_ISA", isa)
    x = np.random.default_rng(5).standard_normal((3, 401, 307), np.float32)
    expected = numpy_twins.add_noise(x, 0.25, 7)
    np.testing.assert_array_equal(native.add_noise(x, 0.25, 7, threads=threads), expected)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_known_answers_of_philox(counter: tuple[int, ...], key: tuple[int, int], words: str) -> None:
    """The known answers of philox4x32, 10 rounds, in Random123, the reference implementation of the paper's authors:
    of zeros, of ones and of the digits of pi."""
    found = numpy_twins.philox(np.array(counter, np.uint32)[:, None], key)
    assert " ".join(f"{word:08x}" for word in found[:, 0]) == words


def test_the_formula_in_double() -> None:
    """Within 1e-6, at the extremes of both words and around every eighth of a turn too."""
    rng, steps = np.random.default_rng(0), np.arange(512, dtype=np.uint32)
    a = np.concatenate([rng.integers(0, 2**32, COUNT // 4, np.uint32), steps, ~steps, np.repeat(steps, 9)])
    b = rng.integers(0, 2**32, len(a), np.uint32)
    b[-9 * 512 :] = (steps[:, None] - np.uint32(256) + np.arange(9, dtype=np.uint32) * np.uint32(1 << 29)).ravel()
    u = (a.astype(np.float64) + 0.5).astype(np.float32).astype(np.float64) / 2**32
    radius, angle = np.sqrt(-2 * np.log(u)), 2 * np.pi * b.astype(np.float64) / 2**32
    for found, expected in zip(numpy_twins._box_muller(a, b), (radius * np.cos(angle), radius * np.sin(angle))):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_a_key_repeats_itself_and_no_other() -> None:
    keys = [0, 1, 2**32, 2**63]
    drawn = [noise_alone(50, key) for key in keys]
    np.testing.assert_array_equal(drawn[1], noise_alone(50, 1))
    for i in range(len(keys)):
        for j in range(i):
            assert not (drawn[i] == drawn[j]).any()


def test_the_place_in_row_major_order_counts() -> None:
    long = noise_alone(1001, 3)
    np.testing.assert_array_equal(noise_alone((10, 10), 3).ravel(), long[:100])


@pytest.fixture(scope="module")
def noise() -> npt.NDArray[np.float64]:
    return noise_alone(COUNT, 35).astype(np.float64)


@pytest.mark.parametrize(("power", "moment", "variance"), [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)])
def test_moments(noise: npt.NDArray[np.float64], power: int, moment: float, variance: float) -> None:
    """Each within four standard errors."""
    assert abs((noise**power).mean() - moment) < 4 * math.sqrt(variance / COUNT)


def test_distribution(noise: npt.NDArray[np.float64]) -> None:
    """Kolmogorov and Smirnov: the largest distance from the normal distribution; 2 is exceeded once in 1,500 times."""
    expected = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in np.sort(noise)[::64]])
    assert np.abs(expected - np.arange(0, COUNT, 64) / COUNT).max() * math.sqrt(COUNT) < 2


@pytest.mark.parametrize("shift", [1, 2, 3, 16, 32, 48, 64, 224, COUNT // 2])
def test_no_number_tells_of_another(noise: npt.NDArray[np.float64], shift: int) -> None:
    """Neither values nor magnitudes of numbers ``shift`` apart go together; pairs are 16 apart."""
    assert_uncorrelated(noise, np.roll(noise, shift))


@pytest.mark.parametrize("key", [34, 36, 35 + 2**32, 35 ^ 2**63])
def test_no_key_tells_of_another(noise: npt.NDArray[np.float64], key: int) -> None:
    assert_uncorrelated(noise, noise_alone(COUNT, key).astype(np.float64))


def assert_uncorrelated(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> None:
    mean = math.sqrt(2 / math.pi)
    for one, other in ((a, b), (np.abs(a) - mean, np.abs(b) - mean), (a**2 - 1, b**2 - 1)):
        assert abs((one * other).mean() / one.var()) < 4.5 / math.sqrt(COUNT / 2)


def test_bounds_of_the_tails(noise: npt.NDArray[np.float64]) -> None:
    """As many beyond 4 standard deviations as expected, 66 +- 8, and none beyond what 32 bits can give."""
    assert 30 < (np.abs(noise) > 4).sum() < 110
    assert np.abs(noise).max() <= math.sqrt(2 * 33 * math.log(2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": [1.0]}, "x must be a NumPy array of float32; found list"),
        ({"x": np.zeros(4)}, "found float64"),
        ({"x": np.zeros((4, 5), np.float32).T}, "x must be C-contiguous"),
        ({"deviation": -1.0}, "deviation must be finite in float32, 0 or more; found -1"),
        ({"deviation": float("nan")}, "found nan"),
        ({"deviation": 1e39}, "found 1e"),
        ({"key": -1}, r"key must lie in 0..2\^64 - 1; found -1"),
        ({"key": 2**64}, "found 18446744073709551616"),
        ({"out": np.zeros((4, 5), np.float32)}, r"out must have shape \(4, 4\)"),
        ({"threads": -1}, "found -1"),
    ],
)
def test_argument_errors(change: dict[str, Any], message: str) -> None:
    arguments = {"x": np.zeros((4, 4), np.float32), "deviation": 1.0, "key": 0, **change}
    with pytest.raises(InputError, match=message):
        native.add_noise(**arguments)


def test_out_may_not_overlap() -> None:
    x = np.zeros(8, np.float32)
    with pytest.raises(InputError, match="out overlaps x"):
        native.add_noise(x, 1, 0, out=x)
