"""The overlay kernel against its NumPy twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxplain import InputError, native
from onnxplain import native_reference as numpy_twins

from support.native_arrays import Layout, layouts

SETS = native.available_instruction_sets()
COLORMAP = np.random.default_rng(1).integers(0, 256, (256, 3), np.uint8)


@pytest.fixture(params=SETS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    monkeypatch.setenv("ONNXPLAIN_ISA", name)
    return name


def maps(shape: tuple[int, ...], seed: int = 0) -> npt.NDArray[np.float32]:
    """Values mostly in 0..1, some outside, with the ends and infinity among them."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(-0.2, 1.2, shape).astype(np.float32)
    special = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, 1e-45, np.nextafter(1, 0)], np.float32)
    return np.where(rng.random(shape) < 0.2, rng.choice(special, shape), values)


@given(
    layout=layouts(rank=st.sampled_from((3, 4)), last=3),
    map_steps=st.lists(st.sampled_from((1, 1, 2, -1, 0)), min_size=3, max_size=3),
    alpha=st.sampled_from((0.0, 0.5, 1.0)) | st.floats(0, 1),
    weighted=st.booleans(),
    has_photo=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=300, deadline=None)
def test_any_layout_equals_the_twin_on_every_instruction_set(
    layout: Layout, map_steps: list[int], alpha: float, weighted: bool, has_photo: bool, seed: int
) -> None:
    photo = layout.view(np.uint8, np.random.default_rng(seed).integers(0, 256, layout.shape, np.uint8))
    shape = layout.shape[:-1]
    order = tuple(range(len(shape)))[:: 1 if seed % 2 else -1]
    saliency = Layout(shape, tuple(map_steps[: len(shape)]), order, layout.offset, layout.writable).view(
        np.float32, maps(shape, seed)
    )
    below = photo if has_photo else None
    expected = numpy_twins.overlay(saliency, below, COLORMAP, alpha=alpha, weight_by_saliency=weighted)
    for name in SETS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ONNXPLAIN_ISA", name)
            found = native.overlay(saliency, below, COLORMAP, alpha=alpha, weight_by_saliency=weighted)
        assert found.dtype == np.uint8
        assert np.array_equal(found, expected)


def test_blue_green_red_view_and_other_orders_of_the_photo(isa: str) -> None:
    saliency = maps((2, 11, 37))
    photo = np.random.default_rng(2).integers(0, 256, (2, 11, 37, 3), np.uint8)
    planar = np.ascontiguousarray(photo.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    with_alpha = np.dstack([photo[0], photo[0, ..., :1]])[None].repeat(2, axis=0)[..., :3]
    for view in (photo[..., ::-1], photo[:, :, ::-1], photo[:, ::-1], planar, with_alpha):
        expected = numpy_twins.overlay(saliency, view, COLORMAP)
        assert np.array_equal(native.overlay(saliency, view, COLORMAP), expected)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_threads_and_long_rows_change_nothing(threads: int, weighted: bool, isa: str) -> None:
    for shape in ((3, 150, 1301), (40, 70, 71), (1, 1, 90_001)):
        saliency = maps(shape)
        photo = np.random.default_rng(2).integers(0, 256, (*shape, 3), np.uint8)
        out = np.zeros_like(photo)
        found = native.overlay(
            saliency, photo, COLORMAP, alpha=0.7, weight_by_saliency=weighted, out=out, threads=threads
        )
        assert found is out
        expected = numpy_twins.overlay(saliency, photo, COLORMAP, alpha=0.7, weight_by_saliency=weighted)
        assert np.array_equal(found, expected)


def test_blend_is_the_exact_one_rounded(isa: str) -> None:
    values = np.arange(256, dtype=np.uint8)
    photo = np.broadcast_to(values[:, None, None], (256, 256, 3))
    saliency = np.ascontiguousarray(np.broadcast_to(np.float32(values / 255), (256, 256)))
    grey = np.repeat(values[:, None], 3, axis=1)
    for alpha in (0.0, 0.3, 0.5, 1.0):
        found = native.overlay(saliency, photo, grey, alpha=alpha)[..., 0].astype(np.float64)
        exact = values[:, None] + alpha * (values[None, :].astype(np.float64) - values[:, None])
        # 1/65536 is the step of the weight: half of it on a difference of 255 is 0.002.
        assert np.abs(found - exact).max() <= 0.5 + 0.002


def test_no_weight_leaves_the_photo_and_full_weight_covers_it(isa: str) -> None:
    saliency = maps((2, 20, 33))
    photo = np.random.default_rng(2).integers(0, 256, (2, 20, 33, 3), np.uint8)
    assert np.array_equal(native.overlay(saliency, photo, COLORMAP, alpha=0), photo)
    colors = native.overlay(saliency, None, COLORMAP)
    assert np.array_equal(native.overlay(saliency, photo, COLORMAP, alpha=1), colors)
    assert np.array_equal(colors[saliency <= 0], np.broadcast_to(COLORMAP[0], colors[saliency <= 0].shape))
    assert np.array_equal(colors[saliency >= 1], np.broadcast_to(COLORMAP[255], colors[saliency >= 1].shape))
    weighted = native.overlay(saliency, photo, COLORMAP, alpha=1, weight_by_saliency=True)
    assert np.array_equal(weighted[saliency <= 0], photo[saliency <= 0])


@pytest.mark.parametrize("shape", [(0, 4, 5), (2, 0, 5), (2, 4, 0), (0, 5)])
def test_empty_extents(shape: tuple[int, ...], isa: str) -> None:
    photo = np.empty((*shape, 3), np.uint8)
    assert native.overlay(np.empty(shape, np.float32), photo, COLORMAP, threads=2).shape == photo.shape


def test_nan_names_the_map(isa: str) -> None:
    saliency = maps((5, 30, 1100))
    saliency[2, 29, 1099] = np.nan
    saliency[4, 0, 0] = np.nan
    with pytest.raises(InputError, match=r"image 2 holds NaN \(2 of 5 maps do\)"):
        native.overlay(saliency, None, COLORMAP)
    with pytest.raises(InputError, match=r"image 0 holds NaN \(1 of 1 maps do\)"):
        native.overlay(saliency[4], None, COLORMAP)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"saliency": np.zeros((4, 5))}, "saliency must be a NumPy array of float32; found float64"),
        ({"saliency": np.zeros(4, np.float32)}, r"\[N,H,W\] or \[H,W\]; found shape \(4,\)"),
        ({"photo": np.zeros((4, 5, 3), np.float32)}, "photo must be a NumPy array of uint8; found float32"),
        ({"photo": np.zeros((4, 5, 4), np.uint8)}, r"shape \(4, 5, 3\) .* found \(4, 5, 4\)"),
        ({"photo": "photo.jpg"}, "found str"),
        ({"colormap": np.zeros((3, 256), np.uint8)}, r"\(256, 3\); found \(3, 256\)"),
        ({"colormap": np.zeros((256, 3), np.float32)}, "found float32"),
        ({"alpha": 1.5}, "alpha must lie in 0..1; found 1.5"),
        ({"alpha": float("nan")}, "found nan"),
        ({"threads": -2}, "found -2"),
        ({"out": np.zeros((4, 5), np.uint8)}, r"out must have shape \(4, 5, 3\); found \(4, 5\)"),
        ({"out": np.zeros((4, 5, 3), np.int8)}, "out must be a NumPy array of uint8; found int8"),
        ({"out": np.zeros((4, 5, 6), np.uint8)[..., ::2]}, "C-contiguous"),
        ({"out": np.frombuffer(bytes(60), np.uint8).reshape(4, 5, 3)}, "read-only"),
    ],
)
def test_argument_errors(change: dict[str, Any], message: str) -> None:
    arguments = {
        "saliency": np.ones((4, 5), np.float32),
        "photo": np.zeros((4, 5, 3), np.uint8),
        "colormap": COLORMAP,
        **change,
    }
    with pytest.raises(InputError, match=message):
        native.overlay(**arguments)


def test_out_may_not_overlap_an_input() -> None:
    saliency = np.ones((4, 5), np.float32)
    photo = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(InputError, match="out overlaps photo"):
        native.overlay(saliency, photo, COLORMAP, out=photo)
    with pytest.raises(InputError, match="out overlaps saliency"):
        native.overlay(saliency, photo, COLORMAP, out=saliency.view(np.uint8).ravel()[:60].reshape(4, 5, 3))
