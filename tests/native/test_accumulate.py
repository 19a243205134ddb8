"""The accumulating kernel against its NumPy twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxplain import InputError, native
from onnxplain import native_reference as numpy_twins

from support.native_arrays import FLOATS, Layout, gradients, layouts

SETS = native.available_instruction_sets()


@pytest.fixture(params=SETS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    monkeypatch.setenv("ONNXPLAIN_ISA", name)
    return name


def sums(values: npt.NDArray[Any], *, with_squares: bool, seed: int = 0) -> tuple[npt.NDArray[Any], ...]:
    """`total`, and `squares` if wanted, that already hold something."""
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(values.shape[1:]) for _ in range(2 if with_squares else 1))


@given(
    layout=layouts(rank=st.integers(1, 5)),
    dtype=st.sampled_from(FLOATS),
    with_squares=st.booleans(),
    special=st.booleans(),
    threads=st.sampled_from((1, 3)),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=300, deadline=None)
def test_any_layout_equals_the_twin_on_every_instruction_set(
    layout: Layout, dtype: type, with_squares: bool, special: bool, threads: int, seed: int
) -> None:
    values = gradients(layout.shape, dtype, seed)
    if special and values.size:
        rng = np.random.default_rng(seed)
        values.flat[rng.integers(values.size, size=3)] = rng.choice([np.nan, np.inf, -np.inf], 3).astype(dtype)
    samples = layout.view(dtype, values)
    expected = sums(samples, with_squares=with_squares, seed=seed)
    with np.errstate(invalid="ignore"):
        numpy_twins.accumulate(samples, *expected)
    for name in SETS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ONNXPLAIN_ISA", name)
            found = sums(samples, with_squares=with_squares, seed=seed)
            native.accumulate(samples, *found, threads=threads)
        for one, other in zip(found, expected):
            assert np.array_equal(one, other, equal_nan=True)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_and_batches_change_nothing(threads: int, isa: str) -> None:
    samples = np.random.default_rng(5).standard_normal((11, 3, 101, 307), np.float32)
    expected = sums(samples, with_squares=True)
    numpy_twins.accumulate(samples, *expected)
    for cut in (0, 4, 11):
        found = sums(samples, with_squares=True)
        native.accumulate(samples[:cut], *found, threads=threads)
        native.accumulate(samples[cut:], *found, threads=threads)
        for one, other in zip(found, expected):
            assert np.array_equal(one, other)


def test_several_images_with_their_samples(isa: str) -> None:
    samples = np.random.default_rng(5).standard_normal((4, 9, 3, 50, 51), np.float32)
    total, squares = np.zeros((4, 3, 50, 51)), np.zeros((4, 3, 50, 51))
    native.accumulate(samples.swapaxes(0, 1), total, squares)
    np.testing.assert_allclose(total / 9, samples.mean(axis=1, dtype=np.float64), atol=1e-15)
    np.testing.assert_allclose(
        squares / 9 - (total / 9) ** 2, samples.var(axis=1, dtype=np.float64), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gradients": np.ones((2, 4), np.int32)}, "gradients must be a NumPy array of float16.* found int32"),
        ({"gradients": np.float32(1)}, "found float32"),
        ({"gradients": np.array(1, np.float32)}, "found a scalar"),
        ({"total": np.zeros(4, np.float32)}, "total must be a NumPy array of float64; found float32"),
        ({"total": np.zeros(5)}, r"total must have shape \(4,\); found \(5,\)"),
        ({"total": np.zeros(8)[::2]}, "total must be C-contiguous"),
        ({"total": np.frombuffer(bytes(32))}, "total is read-only"),
        ({"squares": np.zeros((1, 4))}, r"squares must have shape \(4,\)"),
        ({"squares": [0.0] * 4}, "squares must be .* found list"),
        ({"threads": -1}, "found -1"),
    ],
)
def test_argument_errors(change: dict[str, Any], message: str) -> None:
    arguments = {"gradients": np.ones((2, 4), np.float32), "total": np.zeros(4), "squares": np.zeros(4), **change}
    with pytest.raises(InputError, match=message):
        native.accumulate(**arguments)


def test_sums_may_not_overlap() -> None:
    memory = np.zeros((3, 4))
    with pytest.raises(InputError, match="total overlaps gradients"):
        native.accumulate(memory, memory[1])
    with pytest.raises(InputError, match="squares overlaps total"):
        native.accumulate(np.ones((2, 4), np.float32), memory[1], memory[1])
