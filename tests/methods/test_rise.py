"""RISE: expected values on models that can be written down, masks against torch's interpolation, seeds, batches."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper

from onnxplain import Explainer, InputError
from onnxplain.methods.helpers.perturbation import Inputs
from onnxplain.methods.rise import Rise, _enlarged

from support import small_models as small


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(small.quadratic(metadata=small.image_metadata(), ending="Softmax"), batch_size=4)


def linear_table() -> Any:
    """y [N,2] = x W, scores without probabilities of their own: K is not fixed by a softmax."""
    weight = np.array([[1, 0], [-2, 0], [0.5, 0], [0, 1]], np.float32)
    nodes = [helper.make_node("MatMul", ["x", "W"], ["y"]), helper.make_node("ReduceSum", ["y", "a"], ["s"])]
    constants = {"W": weight[:, :1], "a": np.array([1])}
    return small.build(nodes, [("x", small.FLOAT, ["N", 4])], [("s", small.FLOAT, ["N", 1])], constants)


def test_features_of_a_linear_model_get_their_share_of_the_score() -> None:
    """E[f | u seen] - E[f] = (1 - p) w_u x_u, exactly in the limit of all masks."""
    explainer, x = Explainer(linear_table(), batch_size=500), np.array([[1, 2, -4, 3]], np.float32)
    found = explainer.attribute(x, 0, method="rise", masks=20000, probability=0.5)
    np.testing.assert_allclose(found, 0.5 * x * [[1, -2, 0.5, 0]], atol=0.06)
    whole = explainer.attribute(x, 0, method="rise", masks=20000, centered=False)
    np.testing.assert_allclose(whole - found, 0.5 * (1 - 4 - 2), atol=0.06)
    hidden = explainer.attribute(x, 0, method="rise", masks=20000, probability=0.9, baseline=[0, 2, 0, 0])
    np.testing.assert_allclose(hidden, 0.1 * np.array([[1, 0, -2, 0]]), atol=0.06)


def test_the_map_is_the_mean_of_probabilities_weighted_by_the_masks(explainer: Explainer) -> None:
    """The formula, on the masks that the method makes."""
    x, method = small.inputs(2), Rise(masks=30, cells=2, centered=False)
    found = explainer.attribute(x, [1, 3], method=method)
    masks = all_masks(explainer, x, method)
    assert masks.shape == (30, 4, 4)
    scores = np.stack([small.quadratic_scores(x * mask) for mask in masks])
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    chosen = (powers / powers.sum(axis=-1, keepdims=True))[:, [0, 1], [1, 3]]
    expected = np.einsum("mn,mhw->nhw", chosen, masks) / masks.sum(axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    centered = explainer.attribute(x, [1, 3], method="rise", masks=30, cells=2)
    np.testing.assert_allclose(centered, expected - chosen.mean(axis=0)[:, None, None], atol=1e-5)


def all_masks(explainer: Explainer, x: np.ndarray, method: Rise) -> np.ndarray:
    attributor = explainer._attributor
    first = np.zeros(len(x), np.int64)
    inputs = Inputs(attributor, {"x": x}, "x", 1, np.arange(len(x)), first, attributor.class_scores({"x": x}))
    return np.concatenate(list(method._masks(inputs, x.shape[2:])))


def test_masks_are_grids_enlarged_as_torch_does_and_shifted() -> None:
    grids = np.random.default_rng(0).integers(0, 2, (6, 3, 3)).astype(np.float32)
    shifts = np.random.default_rng(1).random((6, 2))
    found = _enlarged(grids, (10, 12), shifts)
    whole = torch.nn.functional.interpolate(torch.from_numpy(grids[:, None]), size=(16, 16), mode="bilinear")[:, 0]
    for mask, enlarged, (down, right) in zip(found, whole.numpy(), np.floor(shifts * 4).astype(int)):
        np.testing.assert_allclose(mask, enlarged[down : down + 10, right : right + 12], atol=1e-6)
    assert len({(int(d), int(r)) for d, r in np.floor(shifts * 4)}) > 1


def test_masks_are_seen_as_often_as_the_probability_says(explainer: Explainer) -> None:
    masks = all_masks(explainer, small.inputs(1), Rise(masks=4000, cells=3, probability=0.3))
    assert abs(float(masks.mean()) - 0.3) < 0.02
    assert 0 <= masks.min() < masks.max() <= 1


def test_a_constant_score_gives_an_even_map() -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"], axis=1),
        helper.make_node("Mul", ["flat", "zero"], ["none"]),
        helper.make_node("Add", ["none", "three"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["logits"]),
    ]
    constants = {"zero": np.array(0, np.float32), "three": np.array([3, 2, 1], np.float32)}
    shape = ["N", 3, 6, 6]
    model = small.build(nodes, [("x", small.FLOAT, shape)], [("logits", small.FLOAT, ["N", 3])], constants)
    x = np.random.default_rng(0).standard_normal((1, 3, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(Explainer(model).attribute(x, 0, method="rise", masks=20), 0, atol=1e-6)
    share = np.exp(3) / np.exp([3, 2, 1]).sum()
    found = Explainer(model).attribute(x, 0, method="rise", masks=20, centered=False)
    np.testing.assert_allclose(found, share, rtol=1e-5)


def test_the_seed_decides_and_the_batch_does_not(explainer: Explainer) -> None:
    x, options = small.inputs(3), {"method": "rise", "masks": 50, "cells": 2}
    first = explainer.attribute(x, 1, **options)
    np.testing.assert_array_equal(first, explainer.attribute(x, 1, **options))
    np.testing.assert_allclose(first[1:2], explainer.attribute(x[1:2], 1, **options), atol=1e-6)
    for size in (1, 16):
        other = Explainer(small.quadratic(ending="Softmax"), batch_size=size)
        np.testing.assert_allclose(first, other.attribute(x, 1, **options), atol=1e-6)
    assert np.abs(first - explainer.attribute(x, 1, seed=1, **options)).max() > 1e-3


def test_signals_and_whole_numbers() -> None:
    signal, x = Explainer(small.signal()), np.random.default_rng(0).standard_normal((2, 2, 6)).astype(np.float32)
    assert signal.attribute(x, 1, method="rise", masks=10).shape == (2, 6)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4), dtype=np.uint8)
    found = Explainer(small.quadratic_uint8()).attribute(pixels, 0, method="rise", masks=10)
    assert found.shape == (2, 4, 4) and np.isfinite(found).all()


def test_masks_are_never_all_in_memory() -> None:
    explainer = Explainer(small.any_size(), batch_size=8)
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    explainer.attribute(x, 0, method="rise", masks=8)
    tracemalloc.start()
    explainer.attribute(x, 0, method="rise", masks=800)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 800 * 64 * 64 * 4 / 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": 0}, "masks is a whole number, 1 or more; found 0"),
        ({"cells": 1.5}, "cells is a whole number, 1 or more; found 1.5"),
        ({"probability": 1.0}, "probability is between 0 and 1; found 1.0"),
    ],
)
def test_options_that_do_not_fit_are_refused(explainer: Explainer, options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        explainer.attribute(small.inputs(1), 0, method="rise", **options)
    with pytest.raises(InputError, match="features of a row are not neighbours"):
        Explainer(linear_table()).attribute(np.ones((1, 4), np.float32), 0, method="rise", cells=2)
