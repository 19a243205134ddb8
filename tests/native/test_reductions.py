"""The reductions of the saliency kernel, and its percentiles, against their NumPy twins."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxplain import GradientError, InputError, native
from onnxplain import native_reference as numpy_twins

from support.native_arrays import FLOATS, Layout, gradients, layouts

SETS = native.available_instruction_sets()
REDUCTIONS: tuple[native.Reduction, ...] = ("max_abs", "sum", "abs_sum", "positive")
NORMALIZATIONS: tuple[native.Normalization, ...] = ("max", "minmax", "percentile", "none")
SPECIAL = np.array([np.nan, -np.nan, np.inf, -np.inf])


@pytest.fixture(params=SETS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    monkeypatch.setenv("ONNXPLAIN_ISA", name)
    return name


def on_every_instruction_set(gradient: npt.NDArray[Any], **options: Any) -> list[npt.NDArray[np.float32] | str]:
    """Each result, or the message of its GradientError."""
    results: list[npt.NDArray[np.float32] | str] = []
    for name in SETS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ONNXPLAIN_ISA", name)
            try:
                results.append(native.saliency(gradient, **options))
            except GradientError as error:
                results.append(str(error))
    return results


def bad_images(maps: npt.NDArray[np.float32], normalize: str) -> npt.NDArray[np.bool_]:
    """Images whose map, or the range it is divided by, is not finite."""
    if maps.size == 0:
        return np.zeros(len(maps), np.bool_)
    flat = maps.reshape(len(maps), -1)
    bad: npt.NDArray[np.bool_] = ~np.isfinite(flat).all(axis=1)
    if normalize == "minmax":
        bad |= ~np.isfinite(flat.max(axis=1) - flat.min(axis=1))
    return bad


@given(
    layout=layouts(rank=st.integers(2, 5)),
    dtype=st.sampled_from(FLOATS),
    axis=st.none() | st.integers(1, 4),
    reduction=st.sampled_from(REDUCTIONS),
    normalize=st.sampled_from(NORMALIZATIONS),
    percentile=st.sampled_from((0.0, 50.0, 99.0, 100.0)) | st.floats(0, 100),
    special=st.booleans(),
    threads=st.sampled_from((1, 3)),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=400, deadline=None)
def test_any_layout_agrees_with_the_twin_on_every_instruction_set(
    layout: Layout,
    dtype: type,
    axis: int | None,
    reduction: native.Reduction,
    normalize: native.Normalization,
    percentile: float,
    special: bool,
    threads: int,
    seed: int,
) -> None:
    values = gradients(layout.shape, dtype, seed)
    if special and values.size:
        rng = np.random.default_rng(seed)
        values.flat[rng.integers(values.size, size=2)] = rng.choice(SPECIAL, 2).astype(dtype)
    gradient = layout.view(dtype, values)
    if axis is not None:
        axis = 1 + (axis - 1) % (gradient.ndim - 1)
    options: dict[str, Any] = {"channel_axis": axis, "reduction": reduction}
    with np.errstate(over="ignore", invalid="ignore"):
        reduced = numpy_twins.reduced(gradient, axis, reduction)
        bad = bad_images(reduced, normalize)
    results = on_every_instruction_set(gradient, normalize=normalize, percentile=percentile, threads=threads, **options)
    for found in results:
        if bad.any():
            assert isinstance(found, str)
            assert f"image {np.argmax(bad)} holds NaN or infinity ({bad.sum()} of {len(bad)} images do)" in found
            continue
        assert not isinstance(found, str)
        assert found.dtype == np.float32
        assert np.array_equal(found, results[0])
        if normalize == "none":
            assert np.array_equal(found, reduced)
        else:
            expected = numpy_twins.normalized(reduced, normalize, percentile)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 8, 9, 16, 33])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_channel_counts_and_layouts_do_not_change_a_bit(
    reduction: native.Reduction, channels: int, dtype: type, isa: str
) -> None:
    planar = np.random.default_rng(channels).standard_normal((2, channels, 67, 71)).astype(dtype)
    expected = numpy_twins.reduced(planar, 1, reduction)
    last = np.ascontiguousarray(planar.transpose(0, 2, 3, 1))
    for view, axis in ((planar, 1), (last, 3), (np.asfortranarray(planar), 1), (planar[..., ::-1], 1)):
        found = native.saliency(view, channel_axis=axis, reduction=reduction, normalize="none", threads=2)
        assert np.array_equal(found, expected[..., :: 1 if view.strides[-1] > 0 else -1])


def test_signed_maps_keep_their_sign(isa: str) -> None:
    gradient = np.zeros((1, 2, 3, 40), np.float32)
    gradient[0, :, 0, 0], gradient[0, :, 2, 39], gradient[0, 0, 1, 1] = -4, 3, 2
    maximum = native.saliency(gradient, reduction="sum")[0]
    assert (maximum[0, 0], maximum[2, 39], maximum[1, 1]) == (-1, 0.75, 0.25)
    percentile = native.saliency(gradient, reduction="sum", normalize="percentile", percentile=98)[0]
    assert (percentile[0, 0], percentile.max()) == (-1, 1)
    ranged = native.saliency(gradient, reduction="sum", normalize="minmax")[0]
    assert (ranged[0, 0], ranged[2, 39], ranged[0, 1]) == (0, 1, np.float32(8) / np.float32(14))
    sparse = native.saliency(gradient, reduction="sum", normalize="percentile", percentile=50)[0]
    assert np.array_equal(sparse, np.sign(maximum))


def test_channels_that_cancel(isa: str) -> None:
    gradient = np.ones((2, 2, 5, 21), np.float32)
    gradient[:, 1] = -1
    for reduction in REDUCTIONS[1:]:
        found = native.saliency(gradient, reduction=reduction)
        assert not found.any()
        assert not np.signbit(found).any()


def test_positive_drops_what_counts_against(isa: str) -> None:
    gradient = np.arange(-40, 40, dtype=np.float32).reshape(1, 2, 5, 8)
    total = gradient.sum(axis=1)
    found = native.saliency(gradient, reduction="positive", normalize="none")
    assert np.array_equal(found, np.maximum(total, 0))
    assert not np.signbit(found).any()
    gradient[0, 0, 0, 0] = -np.inf
    with pytest.raises(GradientError, match="image 0"):
        native.saliency(gradient, reduction="positive")


def test_sum_and_range_beyond_single_are_refused(isa: str) -> None:
    gradient = np.full((3, 2, 4, 5), 2e38, np.float32)
    gradient[0], gradient[2, 1] = 1, -2e38
    with pytest.raises(GradientError, match=r"image 1 .*\(1 of 3 "):
        native.saliency(gradient, reduction="sum")
    single = np.array([[3e38, -3e38]], np.float32)
    with pytest.raises(GradientError, match="image 0"):
        native.saliency(single, channel_axis=None, reduction="sum", normalize="minmax")
    assert np.array_equal(native.saliency(single, channel_axis=None, reduction="sum"), [[1, -1]])


def test_unknown_reduction_is_refused() -> None:
    with pytest.raises(InputError, match="reduction must be one of max_abs, sum, abs_sum, positive; found 'mean'"):
        native.saliency(np.ones((1, 3, 2, 2), np.float32), reduction="mean")  # type: ignore[arg-type]


def periodic(length: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    return np.arange(length) % rng.integers(1, 40)


def golden(length: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Large exactly where the kernel's sample looks first."""
    values = rng.random(length)
    count = rng.integers(1, length, endpoint=True)
    values[(np.arange(count, dtype=np.uint64) * 2654435769 % 2**32 * length) >> np.uint64(32)] += 100
    return values


FILLINGS: dict[str, Any] = {
    "normal": lambda length, rng: rng.standard_normal(length),
    "rising": lambda length, rng: np.arange(length),
    "falling": lambda length, rng: -np.arange(length)[::-1],
    "constant": lambda length, rng: np.full(length, -3),
    "few values": lambda length, rng: rng.integers(-2, 3, length),
    "mostly zero": lambda length, rng: np.where(rng.random(length) < 0.01, rng.random(length), 0),
    "wide": lambda length, rng: np.exp2(rng.uniform(-140, 120, length)),
    "periodic": periodic,
    "golden": golden,
}


@given(
    filling=st.sampled_from(sorted(FILLINGS)),
    length=st.integers(1, 5000) | st.sampled_from((1, 2, 3, 15, 16, 17, 50_176)),
    percentile=st.sampled_from((0.0, 1.0, 50.0, 99.0, 99.9, 100.0)) | st.floats(0, 100),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=300, deadline=None)
def test_percentile_is_the_one_of_numpy_whatever_the_map_holds(
    filling: str, length: int, percentile: float, seed: int
) -> None:
    values = FILLINGS[filling](length, np.random.default_rng(seed)).astype(np.float32)[None]
    expected = numpy_twins.normalized(values, "percentile", percentile)
    for found in on_every_instruction_set(
        values, channel_axis=None, reduction="sum", normalize="percentile", percentile=percentile
    ):
        assert np.array_equal(found, expected)
